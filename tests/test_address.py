import random
from ipaddress import IPv4Address, IPv6Address

from ..tools import transport
from ..tools.address import address_faces
from .pure_case import PureCase

INTERESTING = [0, 1, 2, 2**32 - 1, int(IPv4Address("169.254.169.254"))]


def split_at(prefix_bits, prefix, address, rest=0):
    """Return the IPv6 address that RFC 6052 makes, written down as bits."""
    text = f"{prefix:0{prefix_bits}b}{int(address):032b}"
    if prefix_bits < 96:
        text = text[:64] + "0" * 8 + text[64:]
    return IPv6Address(int(text, 2) << 128 - len(text) | rest)


class TestHiddenAddresses(PureCase):
    def test_an_ipv4_address_is_found_however_it_is_wrapped(self):
        for seed in range(300):
            chance = random.Random(seed)
            number = chance.choice([*INTERESTING, chance.getrandbits(32)])
            forms = self.wrap(number, chance.getrandbits(64), chance.getrandbits(16))
            for name, form in forms.items():
                with self.subTest(name, address=form, seed=seed):
                    address = IPv4Address(number)
                    self.assertIn(address, address_faces(str(form)))
                    networks = (f"{address}/32",)
                    self.assertTrue(transport.is_blocked(str(form), networks))

    def wrap(self, number, prefix, low):
        """Return ``{name: IPv6 address}`` with this number inside."""
        address = IPv4Address(number)
        inside = 0x0064_FF9B_0001
        nat64 = {
            48: split_at(48, inside, address, low),
            56: split_at(56, inside << 8 | low & 255, address, low),
            64: split_at(64, inside << 16 | low, address, low),
            96: split_at(96, inside << 48 | prefix & (1 << 48) - 1, address),
        }
        forms = {
            "compatible": IPv6Address(number),
            "mapped": IPv6Address(0xFFFF << 32 | number),
            "translated": IPv6Address(0xFFFF << 48 | number),
            "NAT64": IPv6Address(0x0064_FF9B << 96 | number),
            **{f"local NAT64 /{length}": form for length, form in nat64.items()},
            "6to4": IPv6Address(0x2002 << 112 | number << 80 | prefix),
            "Teredo server": IPv6Address(0x2001 << 112 | number << 64 | prefix),
            "Teredo client": IPv6Address(
                0x2001 << 112 | prefix << 32 & (1 << 96) - 1 | number ^ 0xFFFF_FFFF
            ),
            "ISATAP": IPv6Address(prefix << 64 | 0x5EFE << 32 | number),
            "ISATAP, global": IPv6Address(prefix << 64 | 0x0200_5EFE << 32 | number),
        }
        if number < 2:
            del forms["compatible"]  # `::` and `::1`
        return forms

    def test_the_forms_that_a_person_writes_are_found(self):
        blocked = transport.DEFAULT_BLOCKED
        for text in [
            "::169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:7:a9:fea9:fe00:0",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",  # the server
            "2001:0:4136:e378:8000:63bf:5601:5601",  # the client, inverted
            "2001:db8::5efe:169.254.169.254",
            "fe80::200:5efe:100.100.100.200%eth0",
        ]:
            with self.subTest(text):
                self.assertTrue(transport.is_blocked(text, blocked))

    def test_other_addresses_are_judged_by_themselves_alone(self):
        for text in [
            "2001:db8::a9fe:a9fe",
            "2606:2800:220:1:248:1893:25c8:1946",
            "64:ff9c::169.254.169.254",
            "64:ff9b:2::169.254.169.254",
            "::1",
        ]:
            with self.subTest(text):
                self.assertEqual(address_faces(text), {IPv6Address(text)})
