'use strict';
'require view';
'require form';
'require uci';
'require ui';
'require dom';

/*
 * What people wrote elsewhere, as descriptions of peers, is put into arrays, of which LuCI makes text; it takes a bare string for
 * HTML. It is not put into titles of dialogues either, which LuCI's form decodes once more.
 */

/* What netifd makes of a peer without a port. */
const DEFAULT_PORT = 51820;

/* The longest name, in characters. */
const MAX_NAME = 63;

/* Below this many characters a secret can be guessed by trying. */
const SHORT_SECRET = 16;

function isTrue(value) {
	return [ '1', 'on', 'true', 'yes', 'enabled' ].includes(value);
}

/* The WireGuard interfaces that netifd knows. */
function interfaces() {
	return uci.sections('network', 'interface')
		.filter((section) => section.proto == 'wireguard' || section.proto == 'amneziawg')
		.map((section) => section['.name']);
}

/* The peers of an interface that netifd knows, as far as they are in use. */
function networkPeers(name) {
	return name ? uci.sections('network', `wireguard_${name}`).filter((section) => !isTrue(section.disabled)) : [];
}

/* The first of the allowed IPs that is a single address: the peer's own in the mesh. */
function ownAddress(section) {
	for (const allowed of L.toArray(section.allowed_ips).join(' ').split(/\s+/)) {
		const [ address, prefix ] = allowed.split('/');

		if (address && (prefix == null || prefix == (address.includes(':') ? '128' : '32')))
			return address;
	}

	return null;
}

function endpointOf(section) {
	const host = section.endpoint_host;

	if (!host)
		return null;

	return (host.includes(':') ? `[${host}]` : host) + `:${section.endpoint_port || DEFAULT_PORT}`;
}

function isKey(value) {
	/* 32 bytes are 43 digits, of which the last one has two bits that are not used, and a filler. */
	return /^[A-Za-z0-9+\/]{42}[AEIMQUYcgkosw048]=$/.test(value || '');
}

function generateSecret() {
	return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
}

/* The mesh that a peer belongs to: where there is only one, it needs not be said. */
function meshOf(section) {
	return section.mesh || (uci.sections('wgautomesh', 'mesh')[0] || {})['.name'];
}

function names(sections) {
	return sections.map((section) => section.description || String(section.public_key || '').substring(0, 8) || section['.name']).join(', ');
}

/* What is about to go wrong with an interface, as netifd has it. */
function advice(name) {
	const notes = [];

	if (!name)
		return [ E('em', [ _('There is no WireGuard interface yet: add one below Network, Interfaces.') ]) ];

	if (!interfaces().includes(name))
		notes.push(_('%s is not among the interfaces of this router. That is right only if something else makes it.').format(name));

	const hosts = networkPeers(name).filter((section) => section.endpoint_host);

	if (hosts.length) {
		notes.push(_('These peers have an endpoint host in the interface\'s settings: %s. The system resets them to it whenever it renews the interface, also when the mesh has found something better. Clear it there, and give it as an endpoint of the peer below: Copy peers, in the tab Peers, does that.').format(names(hosts)));

		if (!isTrue(uci.get('network', name, 'nohostroute')))
			notes.push(_('With an endpoint host and without No Host Routes, %s goes down whenever the uplink does. Set No Host Routes in the interface\'s settings.').format(name));
	}

	if (!notes.length)
		return [ E('em', [ _('Nothing in the interface\'s settings is in the way of the mesh.') ]) ];

	return notes.map((note) => E('div', { 'class': 'alert-message warning' }, [ note ])).concat([
		E('a', { 'href': L.url('admin/network/network') }, [ _('Go to the interfaces') ])
	]);
}

/* Copies the peers of the interface that the mesh does not have yet; which they are, and which cannot be meshed. */
function copyPeers(mesh, name) {
	const known = uci.sections('wgautomesh', 'peer').filter((peer) => meshOf(peer) == mesh).map((peer) => peer.public_key);
	const copied = [], left = [];

	for (const section of networkPeers(name)) {
		const address = ownAddress(section);

		if (known.includes(section.public_key))
			continue;

		if (!isKey(section.public_key) || !address) {
			left.push(section);
			continue;
		}

		const sid = uci.add('wgautomesh', 'peer');
		const endpoint = endpointOf(section);

		uci.set('wgautomesh', sid, 'mesh', mesh);
		uci.set('wgautomesh', sid, 'public_key', section.public_key);
		uci.set('wgautomesh', sid, 'address', address);

		if (validateName(sid, section.description) === true && section.description)
			uci.set('wgautomesh', sid, 'name', section.description);

		if (endpoint)
			uci.set('wgautomesh', sid, 'endpoint', [ endpoint ]);

		known.push(section.public_key);
		copied.push(sid);
	}

	return { copied, left };
}

function validateName(section_id, value) {
	const text = value || '';

	if (Array.from(text).length > MAX_NAME)
		return _('At most %d characters').format(MAX_NAME);

	if (/[\u0022\u005c\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/.test(text) || text.trim() != text)
		return _('No quotes, no backslashes, no control characters, and no white space around it');

	return true;
}

function validateSecret(section_id, value) {
	/* The daemon warns of a weak one, and runs: it does not keep the rest from being changed. */
	if (value == uci.get('wgautomesh', section_id, 'secret'))
		return true;

	if (value.length < SHORT_SECRET)
		return _('A secret this short can be guessed: at least %d characters').format(SHORT_SECRET);

	if (value.trim() != value)
		return _('White space at its beginning or end would be part of the secret');

	return true;
}

function validatePath(section_id, value) {
	return !value || /^\/[^\u0000-\u001f]*[^\/\u0000-\u001f]$/.test(value) ? true : _('A file, beginning with a slash');
}

function validatePattern(section_id, value) {
	return !value || /^[^\s\/:*]{1,15}\*?$/.test(value) ? true : _('The name of an interface, in which * stands for any ending');
}

return view.extend({
	load() {
		return Promise.all([
			uci.load('wgautomesh'),
			uci.load('network')
		]);
	},

	render() {
		const m = new form.Map('wgautomesh', _('WireGuard Mesh'),
			_('Connects the peers of a WireGuard interface with each other, directly and through NATs, without a server. The interface and its keys stay as they are.'));

		this.renderMeshes(m);
		this.renderPeers(m);

		return m.render();
	},

	renderMeshes(m) {
		let o;

		const s = m.section(form.TypedSection, 'mesh', _('Meshes'),
			_('A mesh is a WireGuard interface of this router, and the other nodes on it.'));
		s.addremove = true;
		s.addbtntitle = _('Add mesh');
		s.tab('general', _('General'));
		s.tab('peers', _('Peers'));
		s.tab('reach', _('Reachability'));
		s.tab('advanced', _('Advanced'));

		/* -- general ------------------------------------------------------------------ */

		o = s.taboption('general', form.Flag, 'enabled', _('Enabled'));
		o.default = o.enabled;
		o.rmempty = false;

		o = s.taboption('general', form.ListValue, 'interface', _('Interface'));
		o.rmempty = false;
		o.load = function(section_id) {
			const current = uci.get('wgautomesh', section_id, 'interface');
			const known = interfaces();

			this.keylist = [];
			this.vallist = [];
			known.forEach((name) => this.value(name));

			/* It may be made by something else than netifd. */
			if (current && !known.includes(current))
				this.value(current);

			return form.ListValue.prototype.load.apply(this, [ section_id ]);
		};
		o.validate = function(section_id, value) {
			const other = uci.sections('wgautomesh', 'mesh').map((section) => section['.name']).find((sid) =>
				sid != section_id && this.section.formvalue(sid, 'interface') == value &&
				this.section.formvalue(sid, 'enabled') == '1' && this.section.formvalue(section_id, 'enabled') == '1');

			return other ? _('This is also the interface of %s: each mesh needs one of its own').format(other) : true;
		};
		o.onchange = function(ev, section_id, value) {
			const node = document.getElementById(`wgautomesh-advice-${section_id}`);

			if (node)
				dom.content(node, advice(value));
		};

		o = s.taboption('general', form.DummyValue, '_advice', ' ');
		o.cfgvalue = function(section_id) {
			const name = uci.get('wgautomesh', section_id, 'interface') || interfaces()[0];

			return E('div', { 'id': `wgautomesh-advice-${section_id}` }, advice(name));
		};

		o = s.taboption('general', form.Value, 'gossip_port', _('Gossip port'),
			_('UDP port inside the mesh that the nodes speak on, the same on every node.'));
		o.datatype = 'and(port,min(1))';
		o.default = '1666';
		o.rmempty = false;

		o = s.taboption('general', form.ListValue, '_secret_in', _('The secret is'));
		o.value('here', _('written here'));
		o.value('file', _('in a file'));
		o.load = function(section_id) {
			return uci.get('wgautomesh', section_id, 'secret_file') ? 'file' : 'here';
		};
		/* Which of the two options there is says it. */
		o.write = function() {};
		o.remove = function() {};

		o = s.taboption('general', form.Value, 'secret', _('Secret'),
			_('All nodes of the mesh share it, and whoever has it can speak for the mesh. Generate it on one node and copy it to the others.'));
		o.password = true;
		o.rmempty = false;
		o.validate = validateSecret;
		o.depends('_secret_in', 'here');

		o = s.taboption('general', form.Button, '_generate', ' ');
		o.inputtitle = _('Generate secret');
		o.depends('_secret_in', 'here');
		o.onclick = function(ev, section_id) {
			const field = this.section.getUIElement(section_id, 'secret');

			field.setValue(generateSecret());
			field.triggerValidation();
		};

		o = s.taboption('general', form.Value, 'secret_file', _('File of the secret'),
			_('Only root should be able to read it.'));
		o.placeholder = '/etc/wgautomesh/secret';
		o.rmempty = false;
		o.validate = validatePath;
		o.depends('_secret_in', 'file');

		/* -- peers -------------------------------------------------------------------- */

		o = s.taboption('peers', form.Flag, 'peers_from_network', _('Peers of the interface'),
			_('The peers in the interface\'s settings belong to the mesh. Nothing needs to be written twice.'));
		o.default = o.enabled;

		o = s.taboption('peers', form.Flag, 'peers_from_interface', _('Peers on the running interface'),
			_('Those that something else has put on it belong to the mesh, too.'));

		o = s.taboption('peers', form.Button, '_copy', _('Copy peers'),
			_('Copies the peers in the interface\'s settings to the list below, to change what the mesh knows of them.'));
		o.inputtitle = _('Copy peers');
		o.onclick = function(ev, section_id) {
			const { copied, left } = copyPeers(section_id, this.section.formvalue(section_id, 'interface'));
			const said = [ E('p', [ N_(copied.length, '%d peer copied.', '%d peers copied.').format(copied.length) ]) ];

			if (left.length)
				said.push(E('p', [ _('Left out, as they have no right key or no address of their own in the mesh: %s').format(names(left)) ]));

			/* Where something else in the form is wrong, that is said, and nothing is left behind. */
			return this.map.save().then(
				() => ui.addNotification(null, said, 'info'),
				() => copied.forEach((sid) => uci.remove('wgautomesh', sid)));
		};

		/* -- reachability ------------------------------------------------------------- */

		o = s.taboption('reach', form.Flag, 'lan_discovery', _('LAN discovery'),
			_('Looks for peers on the local networks, to reach them there.'));

		o = s.taboption('reach', form.DynamicList, 'lan_interfaces', _('Only on'),
			_('Interfaces to look on, as <code>br-lan</code> or <code>eth*</code>; all of them, if none is given.'));
		o.validate = validatePattern;
		o.depends('lan_discovery', '1');

		o = s.taboption('reach', form.DynamicList, 'lan_exclude', _('Not on'),
			_('Interfaces not to look on.'));
		o.validate = validatePattern;
		o.depends('lan_discovery', '1');

		o = s.taboption('reach', form.Value, 'upnp_forward_external_port', _('Port mapping'),
			_('The external port that the upstream router is asked to forward to WireGuard, by UPnP, NAT-PMP or PCP. It is not asked, if this is empty.'));
		o.datatype = 'and(port,min(1))';
		o.placeholder = _('no port mapping');

		/* -- advanced ----------------------------------------------------------------- */

		o = s.taboption('advanced', form.Value, 'persist_file', _('State file'),
			_('Keeps over a restart where peers were reached.'));
		o.validate = validatePath;
		o.load = function(section_id) {
			this.placeholder = `/etc/wgautomesh/${section_id}.state`;

			return form.Value.prototype.load.apply(this, [ section_id ]);
		};

		o = s.taboption('advanced', form.Value, 'state_commit', _('Write at most every'),
			_('Seconds that are at least between two writes of the state file, as flash wears out. Nothing is written while nothing changes.'));
		o.datatype = 'and(uinteger,min(60),max(604800))';
		o.placeholder = '3600';

		o = s.taboption('advanced', form.Value, 'secret_next_file', _('File of the next secret'),
			_('Accepted beside the secret, while the mesh changes over to it. When all nodes have it, it becomes the secret.'));
		o.placeholder = '/etc/wgautomesh/secret.next';
		o.validate = validatePath;

		o = s.taboption('advanced', form.Value, 'secret_previous_file', _('File of the previous secret'),
			_('Still accepted, until all nodes have the new one.'));
		o.placeholder = '/etc/wgautomesh/secret.previous';
		o.validate = validatePath;
	},

	renderPeers(m) {
		let o;

		const s = m.section(form.GridSection, 'peer', _('Peers'),
			_('Only needed for what the interface\'s settings do not say: a peer that is there too has from there what is empty here.'));
		s.anonymous = true;
		s.addremove = true;
		s.nodescriptions = true;
		s.addbtntitle = _('Add peer');
		s.modaltitle = _('Peer');

		o = s.option(form.Flag, 'enabled', _('Enabled'), _('If not, the peer is left out of the mesh.'));
		o.default = o.enabled;
		o.editable = true;

		o = s.option(form.ListValue, 'mesh', _('Mesh'));
		o.rmempty = false;
		o.load = function(section_id) {
			this.keylist = [];
			this.vallist = [];
			uci.sections('wgautomesh', 'mesh').forEach((section) => this.value(section['.name']));

			return form.ListValue.prototype.load.apply(this, [ section_id ]);
		};
		o.textvalue = function(section_id) {
			return [ this.cfgvalue(section_id) || '-' ];
		};

		o = s.option(form.Value, 'name', _('Name'));
		o.validate = validateName;
		o.textvalue = function(section_id) {
			const section = uci.get('wgautomesh', section_id) || {};

			return [ E('bdi', [ section.name || (section['.anonymous'] ? '-' : section['.name']) ]) ];
		};

		o = s.option(form.Value, 'public_key', _('Public key'));
		o.rmempty = false;
		o.validate = function(section_id, value) {
			if (!isKey(value))
				return _('Not a WireGuard key: 44 characters of base64');

			const mesh = this.section.formvalue(section_id, 'mesh');
			const twice = uci.sections('wgautomesh', 'peer').some((peer) =>
				peer['.name'] != section_id && peer.public_key == value && meshOf(peer) == mesh);

			return twice ? _('Another peer of this mesh has this key') : true;
		};
		o.textvalue = function(section_id) {
			const key = String(this.cfgvalue(section_id) || '-');

			return [ E('code', { 'title': key }, [ key.length > 12 ? `${key.substring(0, 8)}…` : key ]) ];
		};

		o = s.option(form.Value, 'address', _('Address in the mesh'), _('IPv4 or IPv6. Empty, if the interface\'s settings have it.'));
		o.datatype = 'ipaddr("nomask")';
		o.validate = function(section_id, value) {
			if (value)
				return true;

			const mesh = this.section.formvalue(section_id, 'mesh');
			const key = this.section.formvalue(section_id, 'public_key');
			const there = networkPeers(uci.get('wgautomesh', mesh, 'interface')).find((peer) => peer.public_key == key);

			/* A peer that is left out needs none. */
			return this.section.formvalue(section_id, 'enabled') == '0' || (there && ownAddress(there))
				? true : _('The interface\'s settings have no address for this key');
		};

		o = s.option(form.DynamicList, 'endpoint', _('Endpoints'),
			_('Where it can be reached from the outside, if that is known: <code>203.0.113.7:51820</code>, <code>[2001:db8::7]:51820</code> or <code>name.example:51820</code>.'));
		o.datatype = 'or(hostport,ipaddrport(1))';
		o.textvalue = function(section_id) {
			const all = L.toArray(this.cfgvalue(section_id));

			return [ all.length ? all.join(', ') : '-' ];
		};
	}
});
