"""Known answers, cross-checked with Go's x/mod and public test data (RFC 6962 reference tree; a cosigned proof over it)."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit_ledger.cosignature import WitnessKey
from audit_ledger.note import LogKey
from audit_ledger.policy import Log, Policy, Witness

LEAVES = [
    bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
NUMBERED_ROOTS = {  # entries b"entry-0", b"entry-1", ...
    255: "45da9f374748e17a372f71c00422b12e2bf96842f1f61c5740fe494e4becff0f",
    256: "f85f4ead34080710b4d1e808301543aaab81aa04deb88599350dc26a4f2f58de",
    257: "918b1cec64f317c76e3cf55c0536841c039eff06772ebb8828ce7c176028b5ac",
    70000: "a62a54be33294ffd5a5c4c637fd754630b71a892e8356e3a666a5c8a7ffd1518",
}
CONSISTENCY_3_7 = [
    "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
    "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e",
]
INCLUSION_6_7 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
CONSISTENCY_6_8 = [INCLUSION_6_7[0], "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0", INCLUSION_6_7[1]]

BUNDLE_8_SHA256 = "1afdc32f06ff88236207410a37b10ff2b5647186b52a531da0416d539b15a876"
TILE_8_SHA256 = "aea2f1bbb5140fd5f8eacb503fdf54c00c3d860c72588e40233addd416bc8f10"
PROOF_SHA256 = "26b674332f8508cf7757ab40cc37f24a2339e6d9a97f91292d0b939ddf399d4e"
CHECKPOINT_SHA256 = "e3f0dfc381d5fedb2c0d95cc698756a7f798783f7b96ad5f71d0dc875a4cf57f"
ADD_CHECKPOINT_SHA256 = "020ea26d3e58fe616b14ca765ef04a2661ec92f5acbae96383e68a6048c11f95"
ML_DSA_MESSAGE_SHA256 = "318e4de8c361978a1cbe0ab2dfa966143d4662bbab6128870a4302c376d90cc4"
ORIGIN_SHA256 = "89963c1c4883b2d5e0673bde58d1da0e0ec723bfdbb24804a086398181c2671f"

PROOF = """c2sp.org/tlog-proof@v1
index 5
vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=
yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=
037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=

ledger.example/health
8
XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=

— ledger.example/health Lp2ga8TPD2cea5sH0AY9efT6QDbTbs+dhvctCaXXUZlrKiK5fEaTTryd6FMVhOcK9Al6nmCqnicRj1PyVbtSuyJ16AA=
— witness.auditor.example/w1 rCD57gAAAABlU/EASScBBIvLwAooYdkTB4+\
R7iq+mYF/gg0PLECPOdW179jMdtIq64Z33lYoRWThATRyvWV5QUoiCNYsG6HwB799AQ==
""".encode()
LOG_VKEY = "ledger.example/health+2e9da06b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
WITNESS_VKEY = "witness.auditor.example/w1+ac20f9ee+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
TIME = 1_700_000_000

ORIGIN = "ledger.example/health"
LOG_SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS_SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
LOG_KEY = LogKey.of(ORIGIN, LOG_SIGNER.public_key())
WITNESS_KEY = WitnessKey.of("witness.auditor.example/w1", WITNESS_SIGNER.public_key())
POLICY = Policy((Log(LOG_KEY),), (Witness("w1", WITNESS_KEY),), (), "w1")
UNWITNESSED = Policy((Log(LOG_KEY),), (), (), "none")


def numbered(count: int, start: int = 0) -> list[bytes]:
    """b"entry-0", b"entry-1", ..."""
    return [f"entry-{index}".encode() for index in range(start, start + count)]
