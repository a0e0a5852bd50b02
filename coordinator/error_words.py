"""What `kapok-coordinator` says is wrong, in Chinese: the sentences of its errors, each after the file or name it is about."""

from protocols.outside import outside_in_chinese
from protocols.phrases import Phrases

_CHINESE = {
    # settings and witnesses
    "trust.policy: the witnesses with an address, {}, cannot make the quorum {}": (
        "trust.policy：有地址的见证方 {} 不足以达到所需人数 {}"
    ),
    "trust.policy, witness {}: {}": "trust.policy，见证方 {}：{}",
    "quorum: expected more than half of {} witnesses, got {}": "quorum：应超过 {} 个见证方的半数，实为 {}",
    "witness: expected 'NAME VKEY URL', got {}: {}": "见证方：应为“名称 VKEY 网址”，实为 {}：{}",
    "{}: check the values: all are texts": "{}：请检查各值：均应为文本",
    "{}: check {}": "{}：请检查 {}",
    "{}, witness_url: expected http:// or https://, got {}": "{}，witness_url：应以 http:// 或 https:// 开头，实为 {}",
    "{}, [timing]: expected {}": "{}，[timing]：应为 {}",
    "{}, [timing]: {}: expected seconds above 0, got {}": "{}，[timing]：{}：应为大于 0 的秒数，实为 {}",
    # the auditor's service
    "no cosignature within {} s: {}": "{} 秒内没有会签：{}",
    "no cosignature within {} s{}": "{} 秒内没有会签{}",
    "no cosignature within {} s": "{} 秒内没有会签",
    "{}: no answer within {} s": "{}：{} 秒内没有答复",
    "{}: the stream has ended": "{}：连接已结束",
    "the auditor's service ended the stream before it was done": "审计方服务在完成之前结束了连接",
    "{}: unavailable": "{}：无法连接",
    # founding and closing
    "{}: expected a JSON list of envelopes": "{}：应为信封的 JSON 列表",
    "{}: no entry 0": "{}：没有首条",
    "{}: founds another log, or names another coordinator key": "{}：创立的是另一本账，或指定了另一协调方密钥",
    "{}: names another coordinator key": "{}：指定了另一协调方密钥",
    "{}: not an auditor's card (uri, root, witness_vkey)": "{}：不是审计方名片（uri、root、witness_vkey）",
    "the log has no entry 0 yet: let the auditor countersign founding/draft.json, then `init --founding FILE`": (
        "账本还没有首条：请审计方会签 founding/draft.json，再执行 `init --founding 文件`"
    ),
    "--next-origin: the log is closed already, and names {}": "--next-origin：账本已关账，并指定了 {}",
    "{} questions are paid for and not ended, first {}: run until they are": (
        "{} 个问题已计费而未结束，首个为 {}：请运行至其结束"
    ),
    "{} questions have ended and are not told yet, first {}: run until they are": (
        "{} 个问题已结束而尚未告知提问方，首个为 {}：请运行至其告知"
    ),
    # certificates
    "ca/key.pem: not an elliptic-curve key": "ca/key.pem：不是椭圆曲线密钥",
    "signing request: expected an elliptic-curve key": "签名申请：应为椭圆曲线密钥",
    "signing request: malformed, or not signed by its own key": "签名申请：写法不正确，或未由其自身密钥签名",
    "key request: not for the invited party": "密钥申请：不是受邀方的",
}  # fmt: skip
_PHRASES = Phrases(_CHINESE)


def error_in_chinese(message: str) -> str:
    """The message of an error; of one that is not known here what the system or a parser said of it, else as it stands."""
    return outside_in_chinese(known) if (known := _PHRASES.chinese(message)) == message else known
