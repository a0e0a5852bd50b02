"""What is wrong with a home folder, in Chinese: the sentences of `HomeError`, each after the file it is about."""

from protocols.outside import outside_in_chinese
from protocols.phrases import Phrases

_HOME = {
    "{}: not there": "{}：不存在",
    "{}: not there; run `{}` first": "{}：不存在；请先运行 `{}`",
    "{}: not there; take it from the auditor or the coordinator and compare its hash": (
        "{}：不存在；请向审计方或协调方索取，并核对其哈希"
    ),
    "{}: a folder, expected the invitation file": "{}：是目录，应为邀请文件",
    "{}: not an invitation; ask the operator for `kapok-coordinator enroll`": (
        "{}：不是邀请文件；请运营方运行 `kapok-coordinator enroll`"
    ),
    "{}: exists already and is not overwritten": "{}：已存在，不予覆盖",
    "{}: expected text for {}; run `kapok init` first": "{}：缺少文本项 {}；请先运行 `kapok init`",
    "{}: expected host:port, like 127.0.0.1:7446": "{}：应为 host:port，例如 127.0.0.1:7446",
    "{}: cannot listen there: {}": "{}：无法在此监听：{}",
    "{}: names {} already; its keys are encrypted under that passphrase": "{}：已指定 {}；密钥已用该口令加密",
    "{}: does not read back as {}; nothing was replaced": "{}：读回的内容与 {} 不一致；未作任何替换",
    "{}: a passphrase lies outside the folder that it protects": "{}：口令文件须在所保护的目录之外",
    "{}: the passphrase cannot be read ({})": "{}：无法读取口令（{}）",
    "{}: expected a passphrase of at least {} characters, got {}": "{}：口令至少 {} 个字符，实为 {} 个",
    "{}: readable by others (mode {}); run chmod 600 on it": "{}：他人可读（权限 {}）；请执行 chmod 600",
    "{}: encrypted, and the home names no passphrase in {}": "{}：已加密，而目录中没有指定口令的 {}",
    "{}: the passphrase does not open it, or it is damaged": "{}：口令打不开此文件，或文件已损坏",
    "{}: a key of another kind": "{}：是另一种密钥",
    "{}: not a key: {}": "{}：不是密钥：{}",
    "{}: not TOML: {}": "{}：不是 TOML：{}",
}  # fmt: skip
_PHRASES = Phrases(_HOME)


def in_chinese(message: str) -> str:
    """The message of a `HomeError`; one that is not known here stands as it is, but for what the system said in it."""
    return outside_in_chinese(known) if (known := _PHRASES.chinese(message)) == message else known
