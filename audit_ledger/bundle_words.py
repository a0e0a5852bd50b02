"""What an answer file is found to break, in Chinese: the sentences of `bundle.py` and its neighbours, by their English.

They are evidence, and stand in English in JSON; an auditor who reads Chinese is told what they say.
"""

from protocols.phrases import Phrases

_CHINESE = {
    # the question and its approvals
    "its audience is not sorted, each once": "受询名单未排序，或有重复",
    "signed by fewer than {} approvers": "批准人签名少于 {} 位",
    "approves something else": "批准的是其他对象",
    "had ended before the query": "在提问之前已到期",
    "expected an approval or its programme, got {}": "应为批准或其方案，实为 {}",
    "no approval for {} in its place": "应有的 {} 批准不在其位",
    "the programme is missing": "缺少方案",
    "is not a programme of this query": "不是此问题的方案",
    "the programme allows {} a query": "方案允许每个问题至多 {}",
    "{} may not break the glass": "{} 无权应急提问",
    # the opening
    "is of another query, attempt or log": "属于另一问题、另一次尝试或另一本账",
    "is of another round": "属于另一轮次",
    "stands before its query": "位于其问题之前",
    "came after the window closed": "晚于时限",
    "n or c is not that of the counting set": "n 或 c 与计入的医院不符",
    "has other noise than the query asked for": "噪声与问题所要求的不同",
    "is of attempt {}": "属于第 {} 次尝试",
    "{} hospitals are below the floor": "{} 家医院少于下限",
    "a member is not in the audience": "有成员不在受询名单中",
    "is not of a vector that counts residents": "不是按居民计数的向量",
    "is not of the whole audience, as exact mode demands": "未包括全部受询医院，而精确模式要求如此",
    # the hospitals' statements
    "expected a ready statement": "应为就绪声明",
    "a second Ready of {}": "{} 的第二份就绪声明",
    "are not those of the opened members": "与开启的成员不符",
    "does not stand between query and opening": "不在问题与开启之间",
    "is for another query": "属于另一问题",
    "does not cover the round": "不包含此轮次",
    "is not the one that was bound, or its agreement key is not certified": "不是所绑定的那一份，或其协商密钥未经认证",
    "has another window": "时限不同",
    "charges another purpose": "计费的用途不同",
    "{} was charged by {}": "{} 为 {} 所计",
    "{}: its question is none of this version": "{}：其问题不属于本版本",
    "{}: is charged by block exactly where its question has weights": "{}：当且仅当问题带权重时才按区块计费",
    "{}: blocks: expected {}, got {}": "{}：区块应为 {}，实为 {}",
    "{}: rounds: expected {}, got {}": "{}：轮次应为 {}，实为 {}",
    "{}: price: expected {}, got {}": "{}：价格应为 {}，实为 {}",
    "{}: doubled price: expected {}, got {}": "{}：两家医院价格应为 {}，实为 {}",
    "{}: {}: price expected {}, got {}": "{}：{} 的价格应为 {}，实为 {}",
    "{}: {}: doubled price expected {}, got {}": "{}：{} 的两家医院价格应为 {}，实为 {}",
    "{}: expected a price for each block": "{}：每个区块应各有价格",
    "{}: expected a doubled price for each block": "{}：每个区块应各有两家医院价格",
    "names a sealing key that the auditor did not sign": "所用封装密钥未经审计方签名",
    "expected a receipt, got {}": "应为回执，实为 {}",
    "does not stand between opening and release": "不在开启与发布之间",
    "is for another attempt": "属于另一次尝试",
    "is under another binding": "绑定值不同",
    "are not one of each member": "并非每个成员各一份",
    # the release, its figures and its card
    "answered are not of the opened members": "所列已答复的医院不在开启的成员之中",
    "is not of the opened query, round, attempt and binding": "与开启的问题、轮次、尝试与绑定值不符",
    "are not those that were released": "不是所发布的数值",
    "is not the opened member set": "不是开启的成员集合",
    "is not that of the release": "与发布声明不符",
    "does not name every hospital of the audience once": "未将受询医院各列一次",
    "names a stranger": "列有名单之外的一方",
    "are not {} numbers": "不是 {} 个数",
    "do not follow from the opened binding": "不能由所开启的绑定值推出",
    "do not fit the variances": "与方差不符",
    "is charged exactly where the answer is private": "当且仅当答案具有隐私保护时才计费",
    "states an epsilon of an answer that is not private": "对不具有隐私保护的答案写有 ε",
    "state noise in an exact answer": "在精确答案中写有噪声",
    "is not the whole audience": "不是全部受询医院",
    "is missing": "缺失",
    "does not stand between query and release": "不在问题与发布之间",
    # proofs and keys
    "two roots at size {}": "条数 {} 处有两个根",
    "the proof holds an extra line, which nothing authenticates": "证明中有多余的一行，无从认证",
    "expected a key statement, got {}": "应为密钥声明，实为 {}",
    "expected a {} statement, got {}": "应为 {} 声明，实为 {}",
    "stated by {}, expected a {}": "声明方为 {}，应为 {}",
    "not signed by an admitted key of {}": "未由 {} 的已准入密钥签名",
    "is for another log than {}": "不属于账本 {}",
    "entry 0 of the log is missing": "缺少账本首条",
    "entry 0 follows no other log": "账本首条未接续另一本账",
    "{}: expected {}, got {}": "{}：应为 {}，实为 {}",
}
_PHRASES = Phrases(_CHINESE)


def problem_in_chinese(what: str) -> str:
    """One that is not known here stands as it is."""
    return _PHRASES.chinese(what)
