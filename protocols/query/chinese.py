"""What is wrong with a query, in Chinese: the rules that `errors.Problem` names, and the valid forms that are words.

The rules are written in English where they are checked; here each has its Chinese, with `{}` for what varies. A form that is a
piece of the language itself stands as it is.
"""

from protocols.phrases import Phrases

_CHINESE = {
    # the text as a whole
    "empty": "内容为空",
    "longer than {} characters": "超过 {} 个字符",
    "more than {} brackets deep": "括号嵌套超过 {} 层",
    "not SQL from here on": "自此处起不是 SQL",
    "not SQL: a quote or bracket is left open": "不是 SQL：引号或括号未闭合",
    "not TOML from here on": "自此处起不是 TOML",
    "not TOML that can be read": "无法读作 TOML",
    "not JSON from here on": "自此处起不是 JSON",
    "not JSON that can be read": "无法读作 JSON",
    "not plain JSON": "不是纯 JSON",
    "not in the canonical encoding": "不是规范编码",
    "not a SELECT": "不是 SELECT",
    "not one SELECT": "不是单一的 SELECT",
    "a second statement": "多出一条语句",
    "an object was expected": "应为一个对象",
    "an object that names its kind was expected": "应为写明 kind 的对象",
    "a name given twice in one object": "同一对象中名称重复",
    "unknown": "未知",
    "unknown field": "未知字段",
    "missing": "缺失",
    "not in its one spelling": "不是唯一的规范写法",
    "not in the language": "不在查询语言之内",
    # tables and columns
    "a table stands alone": "数据表须单独出现",
    "one table of the language is asked": "只能询问语言中的一张表",
    "one table needs no prefix": "只有一张表，无需前缀",
    "not in {}": "不在 {} 表中",
    "not for this column": "不适用于此列",
    # conditions
    "not a condition of the language": "不是语言中的条件",
    "more than one condition": "条件不止一个",
    "conditions are sorted by column": "条件须按列名排序",
    "a name outside its list": "名称不在列表之内",
    "a list stands in the query": "列表须直接写在查询中",
    "a list of quoted words": "应为带引号的词的列表",
    "only a prefix of icd10, then %": "只能是 icd10 的前缀后接 %",
    "not a code prefix": "不是编码前缀",
    "a prefix begins another": "一个前缀包含另一个",
    "a prefix begins another: a row would be in two cells": "一个前缀包含另一个：一行会落入两个单元格",
    "a condition beside the key icd10_prefix": "已按 icd10_prefix 分组，不能另有条件",
    "the key needs its list in WHERE": "此分组须在 WHERE 中给出列表",
    "the range is empty": "范围为空",
    "the range has no start": "范围缺少起点",
    "the range has no end": "范围缺少终点",
    "a day was expected": "应为日期",
    "a number was expected": "应为数字",
    "a whole number was expected": "应为整数",
    "days stand in WHERE for all rows, and in the ends of a window": "日期写在 WHERE 中（对所有行），或写作时间窗的两端",
    # periods
    "{} needs one": "{} 需要时间范围",
    "{} has no date": "{} 没有日期",
    "no day lies in it, so the footprint is empty": "其中没有任何一天，覆盖范围为空",
    "outside {} to {}": "不在 {} 至 {} 之间",
    "more than {} months": "超过 {} 个月",
    "the age of a patient needs a day": "患者年龄须指定日期",
    "only for the age of patients": "仅用于患者年龄",
    # cohorts
    "more than {} conditions or {} levels": "超过 {} 个条件或 {} 层",
    "no date to look for": "没有可查找的日期",
    "a window has two ends, in days or as dates": "时间窗须有两端，以天数或日期表示",
    "{} has no date to count days from": "{} 没有可起算的日期",
    "the window ends before it begins": "时间窗的终点早于起点",
    "the window is empty, or outside {} to {}": "时间窗为空，或不在 {} 至 {} 之间",
    "a window reaches at most {} days": "时间窗至多 {} 天",
    "windows reach over more than {} months": "各时间窗合计超过 {} 个月",
    "a table, conditions, and the window's two ends, in days or as dates": "应为数据表、条件及时间窗的两端（天数或日期）",
    "first-ever needs a stated look-back: 1 to {} days before in which no such row lies": (
        "首次须写明回溯期：此前 1 至 {} 天内没有同类记录"
    ),
    "stands in WHERE, joined by AND": "写在 WHERE 中，以 AND 连接",
    # keys, measures, bounds
    "not in GROUP BY": "不能出现在 GROUP BY 中",
    "differs from the keys of SELECT": "与 SELECT 的分组列不一致",
    "not a named set of bands": "不是已命名的年龄分组",
    "a column and two edges or more": "应为一列及两个以上的分界",
    "edges must rise": "分界须递增",
    "an edge is over {}": "分界超过 {}",
    "not a part of the keys": "不是分组列的一部分",
    "a level asked twice": "同一汇总层重复",
    "asked twice": "重复询问",
    "grouped by twice": "重复分组",
    "nothing is counted": "没有统计任何内容",
    "counts rows or persons": "只统计行数或人数",
    "clamps of a count": "计数的截断",
    "needs public clamps": "须写明公开的截断范围",
    "not inside {}": "不能出现在 {} 之内",
    "a column and two numbers": "应为一列及两个数",
    "the {} is a whole number": "{} 须为整数",
    "a number or a list of numbers": "应为一个数或数的列表",
    "needs its columns": "须写明各列",
    "a number with its clamps, or one of sex, district, visit_class": "应为带截断范围的数值，或 sex、district、visit_class 之一",
    "an event within days, the days of the grid, and the day on which follow-up ends": "应为若干天内的事件、网格的天数及随访截止日",
    "follow-up has to last a day beyond the period at least": "随访须至少比时间范围多一天",
    "the event is looked for from day 1 to the last edge": "事件从第 1 天查到最后一个分界",
    "a resident and a number of buckets": "应为 resident 及桶数",
    "a power of two": "须为 2 的幂",
    "stands beside another measure": "不能与其他指标并列",
    "residents do not add up over levels": "居民数不能跨汇总层相加",
    "{} cells of {} buckets, the most is {} in all": "{} 个单元格、每格 {} 个桶，合计至多 {}",
    "only for a period of months": "仅用于按月的时间范围",
    "weights are of whole months": "权重须对应完整的自然月",
    "{} weights for {} months": "{} 个权重对应 {} 个月",
    "a weight is from 1 to {}": "权重须在 1 至 {} 之间",
    "weights are for counts and sums, bounded per block, without totals": "权重仅用于按区块限界、无汇总层的计数与求和",
    "weights add months up": "权重将各月相加",
    "rising, between 0 and 1": "须递增，且在 0 与 1 之间",
    "clamps need lo < hi": "截断须 lo < hi",
    "clamps need lo <= 0 <= hi, lo < hi": "截断须 lo <= 0 <= hi 且 lo < hi",
    "a clamp is over {}": "截断超过 {}",
    "a clamp times its scale is over {}": "截断乘以 scale 超过 {}",
    "the scale does not fit": "scale 不合适",
    "{} cells, the most is {}": "{} 个单元格，至多 {} 个",
    "rows of other days are looked at, so a patient is bounded over the whole query": (
        "涉及其他日期的记录，因此患者按整个查询限界"
    ),
}  # fmt: skip
_FORMS = {
    "shorter lists": "缩短列表",
    "fewer of them": "减少数量",
    "a shorter look-back": "缩短回溯期",
    "one SELECT": "一条 SELECT",
    "each name once": "每个名称一次",
    "once: it is paid each time": "只写一次：每次都要支付预算",
    "one list or one range per column": "每列一个列表或一个范围",
    "only the shorter one": "只保留较短的",
    "a key by its name": "以名称写分组列",
    "a day after {}": "{} 之后的某一天",
    "a question of its own for each": "每项单独提问",
    "no totals": "不写汇总层",
    "no period": "不写时间范围",
    "no as_of": "不写 as_of",
    "no weights": "不写 weights",
    "one for each month": "每月一个",
    "no key of week or month": "不按周或月分组",
    "months from a first day to a first day": "自某月首日至另一月首日",
    "district, sex or age as such": "直接写 district、sex 或 age",
    "every field written out, decimals shortest": "写全每个字段，小数取最短写法",
    "an object of strings, integers and lists": "由字符串、整数与列表组成的对象",
    # what stands in the place of a clause or function of SQL
    "filter the answer after it is released: it costs nothing there": "在答案发布后筛选：那时不需预算",
    "filter the answer after it is released": "在答案发布后筛选",
    "sort the answer: cells come in the order of the keys": "对答案排序：单元格按分组列的次序给出",
    "cut the answer after it is released, or shorten a list or the period": "在答案发布后截取，或缩短列表或时间范围",
    "cut the answer after it is released": "在答案发布后截取",
    "one table; district, sex and age stand on every row": "一张表；district、sex、age 每行都有",
    "one table": "一张表",
    "ask per week and compute over the released answer": "按周提问，再对发布的答案计算",
    "all rows: the noise is the same": "全部记录：噪声相同",
    "no INTO: the answer goes to the asker": "不写 INTO：答案交给提问方",
    "no lock: nothing is written": "不写锁：不写入任何内容",
    "one SELECT over one table": "对一张表的一条 SELECT",
    "HAS(diagnoses, icd10 LIKE 'J10%', -3, 3): a row within these days of this one": (
        "HAS(diagnoses, icd10 LIKE 'J10%', -3, 3)：距本行若干天之内的一行"
    ),
    "FILTER (WHERE ...) right after a measure": "FILTER (WHERE ...) 紧接在指标之后",
    "keys age_band and icd10_prefix, or COUNT(*) FILTER (WHERE ...)": (
        "用分组列 age_band、icd10_prefix，或 COUNT(*) FILTER (WHERE ...)"
    ),
    "the column itself: types are fixed": "直接写该列：类型是固定的",
    "the column itself; compute over the released answer": "直接写该列；再对发布的答案计算",
    "the keys by name, and COUNT(*)": "以名称写分组列，及 COUNT(*)",
    "NOT in WHERE or FILTER, around conditions of the row": "NOT 写在 WHERE 或 FILTER 中，置于该行的条件之前",
    "NOT sex = 'F', or the list of what is wanted: sex IN ('F', 'M')": "NOT sex = 'F'，或列出所需的值：sex IN ('F', 'M')",
    "nothing: rows without a value are not counted": "不必写：没有值的行不计入",
    "conditions of a window are joined by AND; OR between two windows": "一个窗口内的条件以 AND 连接；OR 只用在两个窗口之间",
    "ROLLUP(...) once, around every key": "ROLLUP(...) 一次，包含所有分组列",
    "CUBE(...) once, around every key": "CUBE(...) 一次，包含所有分组列",
    "GROUPING SETS ((...), ...) once, the set of all keys among them": "GROUPING SETS ((...), ...) 一次，其中含全部分组列的集合",
    "the value itself": "直接写值",
    "no alias here": "此处不写别名",
    "COUNT(*), COUNT(DISTINCT person_id or resident_id), SUM, AVG, VARIANCE, STDDEV, MEDIAN, QUANTILE of CLAMP(...), TABLE_ONE, "
    "KAPLAN_MEIER": (
        "COUNT(*)、COUNT(DISTINCT person_id 或 resident_id)，对 CLAMP(...) 的 SUM、AVG、VARIANCE、STDDEV、MEDIAN、QUANTILE，"
        "TABLE_ONE、KAPLAN_MEIER"
    ),
    "keys by name, or one of ROLLUP(...), CUBE(...), GROUPING SETS (...)": (
        "以名称写分组列，或 ROLLUP(...)、CUBE(...)、GROUPING SETS (...) 之一"
    ),
}  # fmt: skip


_CONSTRUCTS = {
    "query": "查询",
    "statement": "语句",
    "subquery": "子查询",
    "window function": "窗口函数",
    "arithmetic": "算术",
    "literal": "字面值",
    "placeholder": "占位符",
    "alias": "别名",
    "table {}": "表 {}",
    "key {}": "分组列 {}",
    "function {}": "函数 {}",
}


_PHRASES = Phrases(_CHINESE | _FORMS)
_NAMED = Phrases(_CONSTRUCTS)


def in_chinese(text: str) -> str:
    """A rule or a valid form. What is not known here, such as a piece of the language, stands as it is."""
    return _PHRASES.chinese(text)


def construct_in_chinese(construct: str) -> str:
    """What a problem is about; a name or a keyword of the language stands as it is."""
    return _NAMED.chinese(construct)
