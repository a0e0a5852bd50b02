"""What is wrong with a file or a number, as the system, a parser or a library says it, in Chinese.

But for the rules of fits these sentences are not ours, and a newer library may have others: what is not known here stands as it was
said. What stands before a sentence (a path, the place in a file) is kept.
"""

import re

from protocols.fit_words import RULES
from protocols.phrases import Phrases

_CHINESE = {
    # the operating system
    "No such file or directory": "没有这个文件或目录",
    "Is a directory": "是目录",
    "Not a directory": "不是目录",
    "Permission denied": "没有权限",
    "File exists": "已存在",
    "No space left on device": "磁盘空间不足",
    "Read-only file system": "文件系统只读",
    "Input/output error": "磁盘读写错误",
    "Connection refused": "连接被拒绝",
    "Address already in use": "地址已被占用",
    "File name too long": "文件名过长",
    # parsers of text, JSON and TOML
    "not text in UTF-8": "不是 UTF-8 文本",
    "'{}' codec can't decode byte {} in position {}: {}": "不是 UTF-8 文本（第 {2} 字节）",
    "'{}' codec can't decode bytes in position {}: {}": "不是 UTF-8 文本（第 {1} 字节）",
    "Expecting value: line {} column {} (char {})": "第 {} 行第 {} 列：缺少值",
    "Expecting {} delimiter: line {} column {} (char {})": "第 {1} 行第 {2} 列：缺少 {0}",
    "Expecting property name enclosed in double quotes: line {} column {} (char {})": "第 {} 行第 {} 列：应为双引号括起的名称",
    "Extra data: line {} column {} (char {})": "第 {} 行第 {} 列：内容多余",
    "Unterminated string starting at: line {} column {} (char {})": "第 {} 行第 {} 列：字符串没有结束",
    "Invalid control character at: line {} column {} (char {})": "第 {} 行第 {} 列：控制字符",
    "Invalid value (at line {}, column {})": "第 {} 行第 {} 列：值不正确",
    "Invalid value (at end of document)": "文件末尾：值不正确",
    "Expected '=' after a key in a key/value pair (at line {}, column {})": "第 {} 行第 {} 列：名称后应为 =",
    "Expected newline or end of document after a statement (at line {}, column {})": "第 {} 行第 {} 列：应换行",
    "Cannot overwrite a value (at line {}, column {})": "第 {} 行第 {} 列：重复赋值",
    "Expected '=' after a key in a key/value pair (at end of document)": "文件末尾：名称后应为 =",
    "Expected newline or end of document after a statement (at end of document)": "文件末尾：应换行",
    "Cannot overwrite a value (at end of document)": "文件末尾：重复赋值",
    "Unclosed array (at line {}, column {})": "第 {} 行第 {} 列：数组没有结束",
    "Unclosed array (at end of document)": "文件末尾：数组没有结束",
    "Unclosed inline table (at line {}, column {})": "第 {} 行第 {} 列：内联表没有结束",
    "Unclosed inline table (at end of document)": "文件末尾：内联表没有结束",
    "Unterminated string (at end of document)": "文件末尾：字符串没有结束",
    "Illegal character {} (at line {}, column {})": "第 {1} 行第 {2} 列：不可用的字符 {0}",
    # fields, as pydantic names them
    "Field required": "缺少此项",
    "Extra inputs are not permitted": "没有这一项",
    "Input should be {}": "应为 {}",
    "Input should be a valid string": "应为文本",
    "Input should be a valid integer": "应为整数",
    "Input should be a valid integer, got a number with a fractional part": "应为整数",
    "Input should be a valid integer, unable to parse string as an integer": "应为整数",
    "Input should be a valid number": "应为数",
    "Input should be a valid boolean": "应为 true 或 false",
    "Input should be a valid tuple": "应为列表",
    "Input should be a valid list": "应为列表",
    "Input should be a valid date in the format YYYY-MM-DD, {}": "应为 2026-01-31 这样的日期",
    "Input should be greater than or equal to {}": "应不小于 {}",
    "Input should be greater than {}": "应大于 {}",
    "Input should be less than or equal to {}": "应不大于 {}",
    "Input should be less than {}": "应小于 {}",
    "Input should be a valid dictionary or instance of {}": "应为一组名称与值",
    "String should match pattern {}": "应符合 {}",
    "String should have at least {} character": "至少 {} 个字符",
    "String should have at least {} characters": "至少 {} 个字符",
    "String should have at most {} characters": "至多 {} 个字符",
    "Tuple should have at least {} item after validation, not {}": "至少 {} 项，实为 {} 项",
    "Tuple should have at least {} items after validation, not {}": "至少 {} 项，实为 {} 项",
    "Tuple should have at most {} items after validation, not {}": "至多 {} 项，实为 {} 项",
}  # fmt: skip
_PHRASES = Phrases(_CHINESE | RULES)
_LIST_OF_WORDS = re.compile(r" or (?='[^']*'$)")


def outside_in_chinese(sentence: str) -> str:
    """The sentence, whole or behind the place it is about (`fit.json: outcome: Field required`)."""
    parts = sentence.removeprefix("Value error, ").split(": ")
    for first in range(len(parts)):
        rest = ": ".join(parts[first:]).removeprefix("Value error, ")
        if (known := _PHRASES.chinese(rest)) != rest:
            return "：".join([*parts[:first], _LIST_OF_WORDS.sub(" 或 ", known)])
    return sentence
