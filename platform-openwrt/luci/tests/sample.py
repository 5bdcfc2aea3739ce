"""Status documents as the daemon writes them."""
import base64
import hashlib


def key(name):
    """A public key, another one for each name."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def peer(name, address, state="connected", **more):
    document = {
        "name": name, "key": key(name or address), "address": address, "state": state, "endpoint": None, "endpoint_source": None,
        "rtt_us": None, "handshake_age_s": None, "rx_bytes": 0, "tx_bytes": 0, "reason": None, "lan_barred": None, "via": None,
        "nat": {"ipv4": None, "ipv6": None}, "has_newest_secret": None,
    }
    assert set(more) <= set(document)
    return {**document, **more}


def up(name, address, endpoint, source, rtt_us, age, rx, tx):
    return peer(name, address, endpoint=endpoint, endpoint_source=source, rtt_us=rtt_us, handshake_age_s=age, rx_bytes=rx, tx_bytes=tx,
                nat={"ipv4": "endpoint-independent", "ipv6": "open"})


def document(peers, **node):
    return {
        "version": 1,
        "node": {
            "version": "0.1.0", "interface": "wg0", "interface_up": True, "key": key("this router"), "mesh_address": "10.14.0.1",
            "gossip_port": 1666, "listen_port": 51820, "uptime_s": 11525, "openers": True,
            "nat": {"ipv4": "endpoint-independent", "ipv6": "open"},
            "seen_at": [{"endpoint": "198.51.100.7:51820", "peers": 5}, {"endpoint": "[2001:db8::7]:51820", "peers": 1}],
            "port_mapping": {
                "mapped": [{"endpoint": "198.51.100.7:51820", "protocol": "PCP", "gateway": "192.0.2.1", "lease_s": 3321}],
                "reason": None,
            },
            "rotation": None,
            **node,
        },
        "peers": peers,
        "counters": {"rx_datagrams": 42},
    }


def home():
    return document([
        up("dora", "10.14.0.2", "203.0.113.9:51820", "configured", 12345, 72, 123456, 7890),
        up("attic", "10.14.0.3", "192.168.1.23:51820", "lan", 843, 3, 91234567890, 8123456789),
        up("office", "10.14.0.4", "198.51.100.77:40001", "mediated", 38123, 111, 5123456, 812345),
        peer("bob", "10.14.0.5", "connecting", endpoint="203.0.113.77:40001", endpoint_source="mediated", via="dora",
             reason={"id": "connecting", "message": "connecting"}),
        peer("caravan", "10.14.0.6", "waiting",
             reason={"id": "no-mediator", "message": "no connected peer could introduce us"}),
        up("alice", "fd14::7", "[2001:db8::4]:51820", "roamed", 2143210, 3, 1024, 2048),
        peer(None, "10.14.0.8", "waiting", handshake_age_s=86400 * 3, rx_bytes=5000, tx_bytes=9000, via="attic",
             lan_barred="192.168.1.40:51820", nat={"ipv4": "endpoint-dependent", "ipv6": None},
             reason={"id": "no-answer", "message": "it did not answer on any endpoint that is known"}),
    ])
