"""The root of everything `protocols` raises for bad input; `code` is the metric label, the API field and the translation key."""


class ProtocolError(Exception):
    """Bytes or values from outside that break a rule of the protocol. Never carries a patient value or a secret."""

    code = "protocol.error"


class MalformedBytes(ProtocolError):
    """Bytes that are not the one canonical spelling of anything."""

    code = "protocol.malformed"


class BadSignature(ProtocolError):
    """A signature that does not verify under the key that had to make it."""

    code = "protocol.signature"
