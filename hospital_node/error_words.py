"""What `kapok-node` says is wrong, in Chinese: the sentences of its errors, each after the file or name it is about."""

from protocols.outside import outside_in_chinese
from protocols.phrases import Phrases

_CHINESE = {
    # the command line
    "{}: exists already and is not overwritten": "{}：已存在，不予覆盖",
    "{}: exists already; change the file, or choose another --home": "{}：已存在；请修改该文件，或另选 --home",
    "{}: no such folder": "{}：没有这个目录",
    "{}: a chart is written as {} or {}": "{}：图表文件应为 {} 或 {}",
    "{}: no such file": "{}：没有这个文件",
    "{}: no such file or folder": "{}：没有这个文件或目录",
    "{}: invites {}, which is no hospital": "{}：邀请的是 {}，不是医院",
    "{}: enrolled already; its fingerprint is in `kapok-node status`": "{}：已登记；指纹见 `kapok-node status`",
    "{}: not there; run `kapok-node residents make` or `take`": "{}：不存在；请运行 `kapok-node residents make` 或 `take`",
    "{}: is no residents' key": "{}：不是居民标识密钥",
    "{}: no admitted hospital has this fingerprint; see `kapok-node peers list`": (
        "{}：没有已准入的医院使用此指纹；见 `kapok-node peers list`"
    ),
    "{}: no installed study of this name or hash; there are {}": "{}：没有安装这个名称或哈希的研究程序；有：{}",
    "{}: this hospital was not asked; nothing is to be explained": "{}：本院未被询问，无须说明",
    "{}: this hospital took part; its absence needs no reason": "{}：本院已参加，无须说明缺席",
    "{}: {} questions in the ledger begin so; give {} digits or more of one": (
        "{}：账本中以此开头的问题有 {} 个；请给出其中一个的 {} 位或更多"
    ),
    "give a mapping file, or --imported": "请给出映射文件，或用 --imported",
    # files that IT writes
    "{}: not there; run `kapok-node init` first": "{}：不存在；请先运行 `kapok-node init`",
    "{}: not there; print one with `kapok-node policy --default`": "{}：不存在；可用 `kapok-node policy --default` 打印一份",
    "{}: not there; copy it from a folder that `kapok-node init` has made": "{}：不存在；请从 `kapok-node init` 建立的目录复制一份",
    "the session's clock is {} minutes from the hospital's: its zone or its clock is wrong": (
        "数据库会话的时钟与本院相差 {} 分钟：时区或时钟不正确"
    ),
    "{}: not TOML: {}": "{}：不是 TOML：{}",
    "{}: is not TOML: {}": "{}：不是 TOML：{}",
    "{}: expected text in UTF-8": "{}：应为 UTF-8 文本",
    "{}: cannot be read as UTF-8 text": "{}：不是 UTF-8 文本",
    "{}: cannot be read as UTF-8 CSV": "{}：不是 UTF-8 的 CSV",
    "{}: line {}: expected {} of 64 hex digits": "{}：第 {} 行：应为 64 位十六进制的 {}",
    "{}: table: {} is not one of {}": "{}：table：{} 不在 {} 之中",
    "{}: floor: expected at least {}, got {}": "{}：floor：至少为 {}，实为 {}",
    "{}: order: expected {}, the order of every account in the city, got {}": "{}：order：应为 {}，即全市所有账户的阶数，实为 {}",
    "{}: exact_a_month: expected 0 to {}, got {}": "{}：exact_a_month：应为 0 至 {}，实为 {}",
    '{}: {}: expected a number in quotes like "0.6"': '{}：{}：应为带引号的数，如 "0.6"',
    "{}: {}: expected at least 0": "{}：{}：不应小于 0",
    "{}: {}: {} is not one of {}": "{}：{}：{} 不在 {} 之中",
    "{}: budget: epsilon {} at delta {} and order {} allows {}": "{}：budget：ε {}、δ {}、阶 {} 至多允许 {}",
    "{}: others can read it; chmod 600": "{}：他人可读；请执行 chmod 600",
    "{}: {}; `kapok-node source --example-mapping` prints one": "{}：{}；`kapok-node source --example-mapping` 可打印一份",
    "{}: {}; --example-mapping prints one": "{}：{}；--example-mapping 可打印一份",
    "{}:{}: expected a postal code and a 6-digit adcode": "{}：第 {} 行：应为邮政编码与 6 位行政区划代码",
    "{}:1: expected the header {}": "{}：第 1 行：表头应为 {}",
    "{}:{}: expected {} columns, got {}": "{}：第 {} 行：应有 {} 列，实为 {} 列",
    "{}:{}: the third column is no ICD-10 code": "{}：第 {} 行：第三列不是 ICD-10 编码",
    # research tables
    "{}: {} still permits it; take it out of `tables` there first": "{}：{} 仍允许查询；请先从其中的 `tables` 去掉",
    "catalogue: {} is that of {}": "catalogue：{} 已属于 {}",
    "a table's name is lower-case letters, digits and _, at most 63, and begins with a letter": (
        "表名由小写字母、数字与 _ 组成，至多 63 个字符，以字母开头"
    ),
    "{}: in lower case, and not one of {}": "{}：应为小写，且不是 {} 之一",
    "{}: no registered table of this name": "{}：没有登记这个名称的数据表",
    "{}: the header has no column {}": "{}：表头缺少列 {}",
    "{}: the header has more than one column {}": "{}：表头有不止一个列 {}",
    "{}: neither UTF-8 nor GB18030": "{}：既不是 UTF-8 也不是 GB18030",
    "{}: row {}: expected {} cells, got {}": "{}：第 {} 行：应有 {} 格，实为 {} 格",
    "{}: after row {}: not a CSV row": "{}：第 {} 行之后：不是 CSV",
    "{}, {}: expected a patient, got nothing": "{}，{}：缺少患者编号",
    "{}: expected one of {}": "{}：应为下列之一：{}",
    "{}: expected a number or a value listed as missing": "{}：应为数，或列为缺失的值",
    "{}: expected a day like 2026-11-25": "{}：应为 2026-11-25 这样的日期",
    # records, their source, the journal
    "{}: no file ends in {}": "{}：没有以 {} 结尾的文件",
    "{}: expected a name ending in {}": "{}：文件名应以 {} 结尾",
    "{}: is not gzip, or is damaged": "{}：不是 gzip，或已损坏",
    "{}: breaks off before its end": "{}：内容不完整",
    "{}: cannot be read": "{}：无法读取",
    "{}: is empty": "{}：内容为空",
    "{}:{}: is not JSON": "{}：第 {} 行：不是 JSON",
    "{}: no records yet, import some first": "{}：还没有数据，请先导入",
    "{}: {} names {}, which is not there": "{}：{} 指向 {}，但它不存在",
    "{}: expected a generation such as g00000001": "{}：应为数据版本，如 g00000001",
    "{}: the disk refused": "{}：磁盘拒绝写入",
    "{}: another import is at work, wait for it to end": "{}：另一项导入正在进行，请等待其结束",
    "{}: the database cannot be built ({})": "{}：数据库无法建立（{}）",
    "records: the database refused a step of the import ({})": "records：数据库拒绝了导入中的一步（{}）",
    "{}: this node has no residents' key; see `kapok-node residents --help`": (
        "{}：本节点没有居民标识密钥；见 `kapok-node residents --help`"
    ),
    "{}: of version {}, expected {}": "{}：版本为 {}，应为 {}",
    "{}: expected entries from {}, got them from {}": "{}：应自第 {} 条起，实为自第 {} 条起",
    "{}: not installed; pip install {}": "{}：未安装；请执行 pip install {}",
    "the server does not let this login in ({})": "数据库服务器不允许此账号登录（{}）",
    "the server refused a statement ({})": "数据库服务器拒绝了一条语句（{}）",
    "the server cut a statement off at its time": "数据库服务器因超时中断了一条语句",
    "Spark was cut off at its time": "Spark 因超时中断",
    "the server knows no zone named {} and its offset changes; load the server's zone tables": (
        "数据库服务器没有名为 {} 的时区，而其偏移会变；请装入服务器的时区表"
    ),
    "no certificate yet; run `kapok-node enroll` first": "还没有证书；请先运行 `kapok-node enroll`",
}  # fmt: skip
_PHRASES = Phrases(_CHINESE)


def error_in_chinese(message: str) -> str:
    """The message of an error; of one that is not known here what the system or a parser said of it, else as it stands."""
    return outside_in_chinese(known) if (known := _PHRASES.chinese(message)) == message else known
