"""The package without a browser: what its files promise each other."""
import json
import pathlib
import re
import unittest

import pot
import sample
from router import ACL, MENU, PACKAGE

VIEWS = PACKAGE / "htdocs/luci-static/resources/view"


class Package(unittest.TestCase):
    def test_each_entry_of_the_menu_leads_to_a_view_that_may_be_seen(self):
        shown = set()
        for entry, node in MENU.items():
            parent = entry.rpartition("/")[0]
            self.assertTrue(parent in MENU or parent == "admin/vpn", entry)
            if node["action"]["type"] == "view":
                shown.add(node["action"]["path"])
                # All that are named are needed, so that each entry names just one.
                (group,) = node["depends"]["acl"]
                self.assertIn(group, ACL)
        self.assertEqual(shown, {str(path.relative_to(VIEWS).with_suffix("")) for path in VIEWS.rglob("*.js")})

    def test_nobody_is_granted_more_than_the_views_ask_for(self):
        self.assertEqual({group: {access: rights for access, rights in levels.items() if access != "description"}
                          for group, levels in ACL.items()}, {
            "luci-app-wgautomesh-status": {"read": {"ubus": {"wgautomesh": ["status"]}}},
            "luci-app-wgautomesh": {"read": {"uci": ["network", "wgautomesh"]}, "write": {"uci": ["wgautomesh"]}},
        })

    def test_the_template_of_the_translations_has_every_string(self):
        self.assertEqual(pot.TEMPLATE.read_text(), pot.template(), "python3 tests/pot.py writes it anew")

    def test_the_views_are_written_as_luci_wants_them(self):
        for path in VIEWS.rglob("*.js"):
            text = path.read_text()
            with self.subTest(path=path.name):
                self.assertTrue(text.startswith("'use strict';\n'require view';\n"))
                self.assertEqual(re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|rawhtml|document\.write|\beval\b", text), [])
                # By tabs; what follows a tab or begins a line of a comment may be spaces.
                self.assertEqual([line for line in text.splitlines() if re.search(r"^ (?!\*)|\s$", line)], [])
                # Each module that is asked for is used.
                for module in re.findall(r"^'require (\w+)';$", text, re.M):
                    self.assertTrue(re.search(rf"(?<!')\b{module}\.", text), module)

    def test_the_options_are_those_that_the_daemon_reads(self):
        text = (VIEWS / "wgautomesh/config.js").read_text()
        meshes, peers = text.split("renderPeers(m) {")
        options = lambda part: {name for name in re.findall(r"option\((?:'\w+', )?form\.\w+, '(\w+)'", part) if name[0] != "_"}
        mesh = {"enabled", "interface", "gossip_port", "secret", "secret_file", "secret_next_file", "secret_previous_file",
                "persist_file", "state_commit", "lan_discovery", "lan_interfaces", "lan_exclude", "upnp_forward_external_port",
                "peers_from_network", "peers_from_interface"}
        peer = {"enabled", "mesh", "name", "public_key", "address", "endpoint"}
        self.assertEqual((options(meshes), options(peers)), (mesh, peer))
        self.assertEqual({"mesh", "peer"}, set(re.findall(r"m\.section\(form\.\w+, '(\w+)'", text)))
        # And what the daemon's own list says, as soon as it is beside.
        source = PACKAGE.parent / "src/config/mod.rs"
        if source.exists():
            rust = source.read_text()
            listed = lambda name: set(re.findall(r'"(\w+)"', re.search(rf"const {name}: [^=]*= \[(.*?)\];", rust, re.S)[1]))
            self.assertLessEqual(mesh, listed("MESH_OPTIONS"))
            self.assertLessEqual(peer, listed("PEER_OPTIONS"))

    def test_the_sample_is_a_document_of_the_daemon(self):
        rust = (PACKAGE.parent.parent / "platform-linux/src/control/status.rs").read_text()
        fields = lambda name: set(re.findall(r"^    pub (\w+):", re.search(rf"pub struct {name} {{(.*?)^}}", rust, re.S | re.M)[1], re.M))
        document = sample.home()
        node = document["node"]
        self.assertEqual(set(document), fields("Status"))
        self.assertEqual(set(node), fields("Node"))
        self.assertEqual(set(node["nat"]), fields("Nats"))
        self.assertEqual(set(node["seen_at"][0]), fields("SeenAt"))
        self.assertEqual(set(node["port_mapping"]), fields("PortMapping"))
        self.assertEqual(set(node["port_mapping"]["mapped"][0]), fields("Mapped"))
        for peer in document["peers"]:
            self.assertEqual(set(peer), fields("Peer"))
        self.assertEqual(set(document["peers"][3]["reason"]), fields("Reason"))

    def test_the_words_of_the_daemon_are_known(self):
        text = (VIEWS / "wgautomesh/status.js").read_text()
        cases = lambda name: set(re.findall(r"case '([\w-]+)':", re.search(rf"function {name}\(.*?\n}}\n", text, re.S)[0]))
        root = PACKAGE.parent.parent
        states = re.search(r"fn as_str.*?\n    }", (root / "platform-linux/src/control/status.rs").read_text(), re.S)[0]
        self.assertEqual(cases("stateText"), set(re.findall(r'=> "([\w-]+)"', states)) - {"unknown"})
        kinds = re.search(r"impl CandidateKind \{.*?\n}\n", (root / "core/src/output.rs").read_text(), re.S)[0]
        self.assertEqual(cases("sourceText"), set(re.findall(r'=> "([\w-]+)"', kinds)))
        words = re.search(r"/// What is in front of a node in each family.*?pub struct Nats",
                          (root / "platform-linux/src/control/status.rs").read_text(), re.S)[0]
        self.assertEqual(cases("natText"), set(re.findall(r"`([a-z-]+)`", words)) - {"null"})

    def test_the_makefile_names_the_package_whatever_its_folder_is_called(self):
        text = (PACKAGE / "Makefile").read_text()
        self.assertRegex(text, r"(?m)^LUCI_NAME:=luci-app-wgautomesh$")
        self.assertRegex(text, r"(?m)^LUCI_DEPENDS:=.*\+wgautomesh\b")
        self.assertLess(text.index("LUCI_NAME"), text.index("luci.mk"))
        self.assertTrue(text.endswith("# call BuildPackage - OpenWrt buildroot signature\n"))

    def test_json_is_written_as_in_the_feed(self):
        for path in (PACKAGE / "root").rglob("*.json"):
            text = path.read_text()
            json.loads(text)
            self.assertNotRegex(text, r"(?m)^ ", pathlib.Path(path).name)


if __name__ == "__main__":
    unittest.main()
