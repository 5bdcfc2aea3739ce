'use strict';
'require view';
'require rpc';
'require poll';
'require dom';

/*
 * The answer is { "meshes": { NAME: DOCUMENT, ... } }, where a document is what `wgautomesh status --json` prints, or
 * { "error": TEXT } where no daemon answered.
 *
 * Names of peers, reasons and addresses come from elsewhere. LuCI's E() and dom.append() take a bare string for HTML, and only what
 * is in an array for text: so every child here is in an array.
 */
const callStatus = rpc.declare({
	object: 'wgautomesh',
	method: 'status',
	expect: { '': {} },
	reject: true
});

const SVG = 'http://www.w3.org/2000/svg';

/* How long names are shown, in characters: the longest one in a configuration has 63. */
const NAME_IN_TABLE = 64;
const NAME_ON_MAP = 13;

/* With more peers, their names would cover each other. */
const NAMED_ON_MAP = 12;

const STYLE = `
.wgautomesh {
	--wgautomesh-up: var(--success-color-high, #00a05a);
	--wgautomesh-trying: var(--warn-color-high, #d9a40a);
	--wgautomesh-down: var(--error-color-high, #d64541);
	--wgautomesh-self: var(--primary-color-high, #1976d2);
	overflow-wrap: anywhere;
}
.wgautomesh .overview { display: flex; flex-wrap: wrap; gap: 1em 2em; align-items: center; margin-bottom: 1em; }
.wgautomesh .overview > .facts { flex: 1 1 24em; min-width: 0; }
.wgautomesh .overview > .map { flex: 1 1 20em; min-width: 0; max-width: 30em; margin: 0 auto; }
.wgautomesh .facts .td:first-child { width: 9em; white-space: nowrap; opacity: .7; }
.wgautomesh .table { width: 100%; }
.wgautomesh .facts .td, .wgautomesh .peers .td, .wgautomesh .peers .th { vertical-align: top; text-align: start; }
.wgautomesh .peers .th { white-space: nowrap; }
.wgautomesh .peers .peer { min-width: 12.5em; }
.wgautomesh .peers .reached { min-width: 12.5em; }
.wgautomesh .count { font-weight: normal; font-size: 75%; opacity: .7; margin-inline-start: .6em; white-space: nowrap; }
.wgautomesh .minor { display: block; opacity: .7; font-size: 90%; }
.wgautomesh .note { display: block; font-size: 90%; margin-top: .2em; }
.wgautomesh .figure { white-space: nowrap; font-variant-numeric: tabular-nums; }
.wgautomesh .state { white-space: nowrap; }
.wgautomesh .state::before {
	content: ""; display: inline-block; box-sizing: border-box; width: 10px; height: 10px; border-radius: 50%;
	margin-inline-end: .45em; border: 2px solid currentColor; color: var(--wgautomesh-down);
}
.wgautomesh .state.up::before { color: var(--wgautomesh-up); background: currentColor; }
.wgautomesh .state.trying::before { color: var(--wgautomesh-trying); border-style: dashed; }
.wgautomesh svg { display: block; width: 100%; height: auto; }
.wgautomesh svg text { fill: currentColor; font-size: 12px; text-anchor: middle; unicode-bidi: isolate; }
.wgautomesh svg .link { fill: none; stroke: var(--wgautomesh-down); stroke-width: 1.5; stroke-dasharray: 1 6; stroke-linecap: round; }
.wgautomesh svg .link.up { stroke: var(--wgautomesh-up); stroke-width: 2; stroke-dasharray: none; }
.wgautomesh svg .link.trying { stroke: var(--wgautomesh-trying); stroke-width: 2; stroke-dasharray: 6 5; }
.wgautomesh svg .link.via { stroke: currentColor; stroke-width: 1; stroke-dasharray: 2 4; opacity: .6; }
.wgautomesh svg .node { fill: var(--background-color-high, #888); stroke: var(--wgautomesh-down); stroke-width: 2.5; }
.wgautomesh svg .node.up { fill: var(--wgautomesh-up); stroke: var(--wgautomesh-up); }
.wgautomesh svg .node.trying { stroke: var(--wgautomesh-trying); }
.wgautomesh svg .node.self { fill: var(--wgautomesh-self); stroke: none; }
@media (max-width: 600px) {
	.wgautomesh .peers, .wgautomesh .peers tbody { display: block; }
	.wgautomesh .peers .tr {
		display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .3em .8em; margin: 0; padding: .7em .5em;
	}
	.wgautomesh .peers .tr.table-titles, .wgautomesh .peers .td.empty { display: none; }
	.wgautomesh .peers .td { display: block; padding: 0; border: none; overflow: visible; min-width: 0; max-width: none; }
	.wgautomesh .peers .td.wide { grid-column: 1 / -1; }
	.wgautomesh .peers .td[data-title]::before { content: attr(data-title); display: block; opacity: .7; font-size: 85%; }
	.wgautomesh .peers .td.peer::before, .wgautomesh .peers .td.how-it-stands::before { display: none; }
}
`;

/* Characters that do not show and can turn the text around them about are made to show. */
function printable(text) {
	return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, '\ufffd');
}

function cut(text, most) {
	const all = Array.from(text);

	return all.length > most ? all.slice(0, most - 1).join('') + '…' : text;
}

/* A name may be written from right to left: <bdi> keeps its direction to itself. */
function foreign(text, most) {
	const whole = printable(text);
	const shown = cut(whole, most || NAME_IN_TABLE);

	return E('bdi', { 'title': shown != whole ? cut(whole, 1024) : null }, [ shown ]);
}

function shortKey(key) {
	return printable(key || '').substring(0, 8);
}

function nameOf(peer) {
	return printable(peer.name || shortKey(peer.key) || '?');
}

function isConnected(peer) {
	return peer.state == 'connected';
}

/* The class that gives a state its colour and shape. */
function look(peer) {
	if (isConnected(peer))
		return 'up';

	return peer.state == 'connecting' || peer.state == 'mute' ? 'trying' : 'down';
}

function stateText(state) {
	switch (state) {
	case 'connected': return _('Connected');
	case 'connecting': return _('Connecting');
	case 'mute': return _('WireGuard only, no gossip');
	case 'waiting': return _('Not connected');
	default: return printable(state || _('Unknown'));
	}
}

function sourceText(source) {
	switch (source) {
	case 'configured': return _('as configured');
	case 'global': return _('its own public address');
	case 'mapped': return _('its port mapping');
	case 'mediated': return _('seen by another peer');
	case 'heard': return _('heard from it');
	case 'published': return _('as it says itself');
	case 'last-good': return _('as the last time');
	case 'private': return _('on its own network');
	case 'roamed': return _('it reached us');
	case 'lan': return _('on the LAN');
	default: return printable(source);
	}
}

function natText(nat) {
	switch (nat) {
	case 'open': return _('none, reachable as it is');
	case 'endpoint-independent': return _('endpoint-independent, easy to open');
	case 'endpoint-dependent': return _('endpoint-dependent, hard to open');
	case 'translated': return _('some NAT, its kind is not known yet');
	default: return printable(nat);
	}
}

/* Of each family of addresses of which something is known. */
function natRows(nat) {
	return [ [ 'IPv4', nat?.ipv4 ], [ 'IPv6', nat?.ipv6 ] ].filter(([ , word ]) => word)
		.map(([ family, word ]) => _('%s: %s').format(family, natText(word)));
}

function rttText(micros) {
	if (micros < 10000)
		return _('%.1f ms').format(micros / 1000);

	return micros < 1000000 ? _('%d ms').format(micros / 1000) : _('%.1f s').format(micros / 1000000);
}

/* The two largest units. */
function durationText(seconds) {
	if (seconds < 60)
		return _('%ds').format(seconds);

	if (seconds < 3600)
		return _('%dm %ds').format(seconds / 60, seconds % 60);

	if (seconds < 86400)
		return _('%dh %dm').format(seconds / 3600, seconds % 3600 / 60);

	return _('%dd %dh').format(seconds / 86400, seconds % 86400 / 3600);
}

function peersText(count) {
	return N_(count, '%d peer', '%d peers').format(count);
}

function connectedText(peers) {
	return _('%d of %d connected').format(peers.filter(isConnected).length, peers.length);
}

/* Why a peer is not connected: what the daemon says, and who was asked to introduce it. */
function reasonOf(peer) {
	if (isConnected(peer))
		return [];

	const parts = [];

	/* The one that is called so only repeats the state. */
	if (L.isObject(peer.reason) && peer.reason.id != 'connecting')
		parts.push(E('span', { 'class': 'note reason' }, [ printable(peer.reason.message || peer.reason.id) ]));

	if (peer.via)
		parts.push(E('span', { 'class': 'note' }, [
			peer.state == 'connecting' ? _('Introduced by') : _('Last introduced by'), ' ', foreign(peer.via)
		]));

	/* The kind that can be in the way. */
	if (peer.nat?.ipv4 == 'endpoint-dependent' || peer.nat?.ipv6 == 'endpoint-dependent')
		parts.push(E('span', { 'class': 'note' }, [ _('It is behind an endpoint-dependent NAT, which is hard to open.') ]));

	return parts;
}

function renderPeer(peer) {
	const cell = (title, classes, children) => E('td', { 'class': `td ${classes}`, 'data-title': title }, children);

	/* What is not known takes no room on a phone. */
	const known = (title, classes, value, text) => value != null && value !== ''
		? cell(title, classes, [].concat(text(value))) : cell(title, `${classes} empty`, [ '-' ]);

	const key = E('span', { 'title': printable(peer.key || '') }, [ shortKey(peer.key) ]);

	const barred = peer.lan_barred
		? [ E('span', { 'class': 'note' }, [ _('It is on the LAN at %s, and does not answer there.').format(printable(peer.lan_barred)) ]) ]
		: [];

	return E('tr', { 'class': 'tr', 'data-key': peer.key }, [
		cell(_('Peer'), 'peer wide', [
			E('strong', [ peer.name ? foreign(peer.name) : key ]),
			E('span', { 'class': 'minor' }, [ printable(peer.address || '') ].concat(peer.name ? [ ' · ', key ] : []))
		]),
		cell(_('State'), 'how-it-stands wide', [
			E('span', { 'class': `state ${look(peer)}` }, [ stateText(peer.state) ])
		].concat(reasonOf(peer), barred)),
		known(_('Reached at'), 'reached wide', peer.endpoint, (endpoint) => [ printable(endpoint) ].concat(
			peer.endpoint_source ? [ E('span', { 'class': 'minor' }, [ sourceText(peer.endpoint_source) ]) ] : [])),
		known(_('Round trip'), 'figure rtt', peer.rtt_us, rttText),
		known(_('Handshake'), 'figure handshake', peer.handshake_age_s, (age) => _('%s ago').format(durationText(age))),
		cell(_('Traffic'), 'figure traffic', [
			E('span', { 'title': _('Received') }, [ '↓ ', '%1024.1mB'.format(peer.rx_bytes) ]), E('br'),
			E('span', { 'title': _('Sent') }, [ '↑ ', '%1024.1mB'.format(peer.tx_bytes) ])
		])
	]);
}

function renderPeers(peers) {
	if (!peers.length)
		return E('p', [ E('em', [ _('No other node is in this mesh yet.') ]) ]);

	/* What needs attention comes first. */
	const sorted = peers.slice().sort((a, b) =>
		isConnected(a) - isConnected(b) || L.naturalCompare(nameOf(a), nameOf(b)) || L.naturalCompare(a.key, b.key));

	return E('table', { 'class': 'table peers' }, [
		E('tr', { 'class': 'tr table-titles' }, [
			_('Peer'), _('State'), _('Reached at'), _('Round trip'), _('Handshake'), _('Traffic')
		].map((title) => E('th', { 'class': 'th' }, [ title ])))
	].concat(sorted.map(renderPeer)));
}

function renderMapping(mapping) {
	if (mapping == null)
		return [ _('not wanted') ];

	const rows = L.toArray(mapping.mapped).map((mapped) =>
		_('%s by %s of %s, for %s').format(
			printable(mapped.endpoint), printable(mapped.protocol), printable(mapped.gateway), durationText(mapped.lease_s)));

	if (L.isObject(mapping.reason)) {
		const why = printable(mapping.reason.message || mapping.reason.id);

		rows.push(rows.length ? _('not renewed: %s').format(why) : _('none: %s').format(why));
	}

	return rows.length ? rows : [ _('none yet') ];
}

function renderFacts(node) {
	const rows = [];
	const row = (title, lines) => rows.push(E('tr', { 'class': 'tr' }, [
		E('td', { 'class': 'td left' }, [ title ]),
		E('td', { 'class': 'td left' }, lines.map((line) => E('div', [ line ])))
	]));

	row(_('Interface'), [
		node.mesh_address ? _('%s, %s').format(printable(node.interface), printable(node.mesh_address)) : printable(node.interface)
	].concat(node.interface_up === false ? [ E('em', [ _('It is not there: waiting for it.') ]) ] : []));

	if (node.key)
		row(_('Public key'), [ E('code', [ printable(node.key) ]) ]);

	const nats = natRows(node.nat);

	row(_('NAT'), nats.length ? nats : [ _('not known yet') ]);

	const seen = L.toArray(node.seen_at);

	row(_('Seen at'), seen.length
		? seen.map((at) => _('%s, by %s').format(printable(at.endpoint), peersText(at.peers)))
		: [ _('by nobody yet') ]);

	row(_('Port mapping'), renderMapping(node.port_mapping));

	row(_('UDP ports'), [
		node.listen_port != null
			? _('WireGuard %d, gossip in the mesh %d').format(node.listen_port, node.gossip_port)
			: _('gossip in the mesh %d').format(node.gossip_port)
	]);

	row(_('Running'), [ _('version %s, for %s').format(printable(node.version), durationText(node.uptime_s)) ]);

	return E('div', { 'class': 'facts' }, [ E('table', { 'class': 'table' }, rows) ]);
}

function svg(tag, attributes, children) {
	const node = document.createElementNS(SVG, tag);

	dom.attr(node, attributes);
	dom.append(node, children);

	return node;
}

/* This node in the middle, and the others around it, each in its place for as long as the configuration stays. */
function renderMap(name, peers) {
	const width = 360, height = 264;
	const middle = { x: width / 2, y: height / 2 };
	const rings = Math.min(3, Math.ceil(peers.length / 24)) || 1;
	const radius = peers.length > 2 * NAMED_ON_MAP ? 5 : 7;

	const places = peers.map((peer, index) => {
		const angle = 2 * Math.PI * index / peers.length - Math.PI / 2;
		const scale = 1 - .25 * (index % rings);

		return { x: middle.x + 128 * scale * Math.cos(angle), y: middle.y + 92 * scale * Math.sin(angle) };
	});

	const line = (from, to, look) => svg('line', {
		'class': `link ${look}`,
		'x1': from.x.toFixed(1), 'y1': from.y.toFixed(1), 'x2': to.x.toFixed(1), 'y2': to.y.toFixed(1)
	}, []);

	const circle = (place, radius, look, title) => svg('circle', {
		'class': `node ${look}`, 'cx': place.x.toFixed(1), 'cy': place.y.toFixed(1), 'r': radius
	}, [ svg('title', {}, [ title ]) ]);

	const text = (place, dy, label) => svg('text', { 'x': place.x.toFixed(1), 'y': (place.y + dy).toFixed(1) }, [ label ]);

	const links = [], nodes = [];

	peers.forEach((peer, index) => {
		const place = places[index];

		links.push(line(middle, place, look(peer)));

		/* The one that introduces it, if there is only one of that name. */
		const mediators = peer.state == 'connecting' && peer.via
			? places.filter((other, i) => i != index && (peers[i].name || shortKey(peers[i].key)) == peer.via)
			: [];

		if (mediators.length == 1)
			links.push(line(mediators[0], place, 'via'));

		nodes.push(circle(place, radius, look(peer), `${cut(nameOf(peer), NAME_IN_TABLE)}: ${stateText(peer.state)}`));

		if (peers.length <= NAMED_ON_MAP)
			nodes.push(text(place, place.y < middle.y - 1 ? -13 : 23, cut(nameOf(peer), NAME_ON_MAP)));
	});

	nodes.push(circle(middle, 10, 'self', _('This router')));

	return E('div', { 'class': 'map' }, [
		svg('svg', {
			'viewBox': `0 0 ${width} ${height}`, 'role': 'img', 'aria-label': _('Map of %s: %s').format(printable(name), connectedText(peers))
		}, links.concat(nodes))
	]);
}

function renderMesh(name, status) {
	const heading = (extra) => E('h3', [ foreign(name) ].concat(extra));

	if (!L.isObject(status) || !L.isObject(status.node))
		return E('div', { 'class': 'cbi-section', 'data-mesh': name }, [
			heading([]),
			E('div', { 'class': 'alert-message warning' }, [
				printable((L.isObject(status) && status.error) || _('There is no answer from its daemon.'))
			])
		]);

	const peers = L.toArray(status.peers).filter(L.isObject);

	return E('div', { 'class': 'cbi-section', 'data-mesh': name }, [
		heading([ ' ', E('span', { 'class': 'count' }, [ connectedText(peers) ]) ]),
		E('div', { 'class': 'overview' }, [ renderFacts(status.node) ].concat(peers.length ? [ renderMap(name, peers) ] : [])),
		renderPeers(peers)
	]);
}

function renderMeshes(meshes) {
	const names = Object.keys(meshes);

	if (!names.length)
		return [ E('div', { 'class': 'cbi-section' }, [
			E('p', [ E('em', [ _('No mesh is enabled.') ]) ]),
			E('p', [ E('a', { 'href': L.url('admin/vpn/wgautomesh/config') }, [ _('Go to the configuration') ]) ])
		]) ];

	return names.map((name) => renderMesh(name, meshes[name]));
}

return view.extend({
	read() {
		return callStatus().then(
			({ meshes }) => L.isObject(meshes) && !Array.isArray(meshes) ? { meshes } : { error: _('the answer names no meshes') },
			(error) => ({ error }));
	},

	load() {
		return this.read();
	},

	show(answer) {
		/* What was shown last stays when the router cannot be asked: it may just be busy. */
		dom.content(this.trouble, answer.error ? [
			E('div', { 'class': 'alert-message warning' }, [
				_('The status cannot be read: %s').format(printable(answer.error.message || answer.error))
			])
		] : []);

		if (answer.meshes)
			dom.content(this.meshes, renderMeshes(answer.meshes));
	},

	render(answer) {
		this.trouble = E('div');
		this.meshes = E('div');
		this.show(answer);

		poll.add(() => this.read().then((next) => this.show(next)), 5);

		return E('div', { 'class': 'wgautomesh' }, [
			E('style', [ STYLE ]),
			E('h2', { 'name': 'content' }, [ _('WireGuard Mesh') ]),
			this.trouble,
			this.meshes
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
