"""The translation template: every string of the views, of the menu and of the ACL, in the form that LuCI's scanner writes.

`python3 pot.py` writes it anew.
"""
import ast
import json
import pathlib
import re

PACKAGE = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE = PACKAGE / "po/templates/wgautomesh.pot"

LITERAL = r"'(?:[^'\\\n]|\\.)*'"
CALL = re.compile(rf"(?<![\w.])(?:_\(\s*(?P<one>{LITERAL})\s*\)|N_\([^,'()]+,\s*(?P<singular>{LITERAL}),\s*(?P<plural>{LITERAL})\s*\))")


def of_script(text):
    """(line, singular, plural or None) of each call, which has to be one of plain strings."""
    found = []
    for match in CALL.finditer(text):
        value = lambda name: match[name] and ast.literal_eval(match[name])
        found.append((text.count("\n", 0, match.start()) + 1, value("one") or value("singular"), value("plural")))
    calls = len(re.findall(r"(?<![\w.])N?_\(", text))
    assert len(found) == calls, f"{calls - len(found)} strings are not plain"
    return found


def of_json(text, key):
    return [(text.count("\n", 0, match.start()) + 1, json.loads(match[1]), None)
            for match in re.finditer(rf'"{key}": ("(?:[^"\\]|\\.)*")', text)]


def template():
    entries = {}
    sources = [(path, of_script) for path in sorted((PACKAGE / "htdocs").rglob("*.js"))]
    sources += [(path, lambda text: of_json(text, "title")) for path in sorted((PACKAGE / "root").rglob("menu.d/*.json"))]
    sources += [(path, lambda text: of_json(text, "description")) for path in sorted((PACKAGE / "root").rglob("acl.d/*.json"))]
    for path, scan in sources:
        for line, singular, plural in scan(path.read_text()):
            where = f"applications/luci-app-wgautomesh/{path.relative_to(PACKAGE)}:{line}"
            entries.setdefault((singular, plural), []).append(where)
    quoted = lambda text: json.dumps(text, ensure_ascii=False)
    out = ['msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n']
    for (singular, plural), places in sorted(entries.items(), key=lambda entry: entry[0][0]):
        lines = [f"#: {place}" for place in places] + [f"msgid {quoted(singular)}"]
        lines += [f"msgid_plural {quoted(plural)}", 'msgstr[0] ""', 'msgstr[1] ""'] if plural else ['msgstr ""']
        out.append("\n".join(lines) + "\n")
    return "\n".join(out)


if __name__ == "__main__":
    TEMPLATE.write_text(template())
