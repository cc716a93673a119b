"""The IPv4 addresses that hide in an IPv6 address.

A router, a tunnel or the kernel takes them out again, so whoever is kept away from an
IPv4 network has to be kept away from all the ways to write it.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# The last 32 bits are an IPv4 address.
_AT_THE_END = [
    ip_network(cidr)
    for cidr in (
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0/96",  # mapped, RFC 4291
        "::ffff:0:0:0/96",  # translated (SIIT), RFC 2765
        "64:ff9b::/96",  # NAT64, RFC 6052
    )
]
# NAT64 of the own network, RFC 8215: where the IPv4 address begins is up to its owner.
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
# Where it may begin, in bits; RFC 6052 leaves out the bits 64 to 71.
_PREFIXES = (48, 56, 64, 96)
# Interface ids of ISATAP, RFC 5214: local and global.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_LOOPBACK = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}


def address_faces(text):
    """Return the addresses that this one may lead to, itself among them, as a set.

    The unspecified address leads to loopback.
    """
    address = ip_address(text.partition("%")[0])
    faces = {address}
    if address.version == 6:
        faces |= set(_hidden(address))
    return faces | {_LOOPBACK[face.version] for face in faces if not int(face)}


def _hidden(address):
    """Yield the IPv4 addresses inside an IPv6 address."""
    value = int(address)
    last = IPv4Address(value & 0xFFFF_FFFF)
    if address in _LOCAL_NAT64:
        yield from (_embedded(value, prefix) for prefix in _PREFIXES)
    is_isatap = value >> 32 & 0xFFFF_FFFF in _ISATAP
    # `::` and `::1` are addresses of their own.
    if is_isatap or value > 1 and any(address in net for net in _AT_THE_END):
        yield last
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo  # the server and the client behind its router


def _embedded(value, prefix):
    """Return the IPv4 address behind a NAT64 prefix of this length, RFC 6052, 2.2."""
    if prefix == 96:
        return IPv4Address(value & 0xFFFF_FFFF)
    # Without the eight bits that are left out; the address may stand on both sides.
    joined = value >> 64 << 56 | value & (1 << 56) - 1
    return IPv4Address(joined >> 120 - prefix - 32 & 0xFFFF_FFFF)
