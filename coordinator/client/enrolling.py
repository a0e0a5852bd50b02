"""A bureau's key, certificate and settings, made of its invitation. `init` may be run again where it broke off."""

import time

from audit_ledger.party.enrol import Invitation, enrol, key_request
from audit_ledger.party.home import Home
from coordinator.client.settings import Settings
from protocols.clock import stamp
from protocols.statements import Licence


def enrolled(place: Home, invitation: Invitation, licence: Licence, *, outbreak: bool) -> None:
    """Asks the coordinator's door for the certificate. `outbreak`: whether emergencies are asked from here."""
    # A door that could not be reached leaves the key made: the next `init` goes on with it.
    if not place.has("keys/identity.key") or place.has("tls/cert.pem"):
        place.create_key("identity")
    now = stamp(int(time.time()))
    enrol(place, invitation, key_request(place, invitation.origin, invitation.uri, now, licence, outbreak))
    Settings(invitation.uri, invitation.origin, invitation.coordinator, invitation.link_address).write(place)
