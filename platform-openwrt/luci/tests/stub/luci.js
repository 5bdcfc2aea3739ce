/*
 * A stand-in for LuCI's runtime (cbi.js and luci.js), of which it has what the views of this package use, under the same names and
 * with the same behaviour; in particular E() and dom.append() make HTML of a bare string and text of what is in an array.
 */
'use strict';

(() => {

/* -- translation and formatting ----------------------------------------------------------------------------------- */

window._ = (text) => L.env.translations[text] || text;

window.N_ = (count, one, many) => count != 1 ? many : one;

const entities = { '&': '&#38;', '<': '&#60;', '>': '&#62;', '"': '&#34;', '\'': '&#39;' };

Object.defineProperty(String.prototype, 'format', { value: function(...args) {
	let index = 0;

	return this.replace(/%('.|0|\x20)?(-)?(\d+)?(\.\d+)?(%|b|c|d|u|f|o|s|x|X|q|h|j|t|m)/g, (whole, pad, left, width, precision, kind) => {
		if (kind == '%')
			return '%';

		const value = args[index++];

		switch (kind) {
		case 'd': return Math.floor(+value || 0).toFixed(0);
		case 'u': return Math.floor(Math.max(+value || 0, 0)).toFixed(0);
		case 'f': return Number(value).toFixed(precision ? +precision.substring(1) : 6);
		case 's': return String(value);
		case 'x': return (pad ? String(~~value >>> 0 && (+value >>> 0).toString(16)).padStart(+width || 0, '0') : (+value >>> 0).toString(16));
		case 'h': return String(value).replace(/[&<>"']/g, (c) => entities[c]);
		case 'm': {
			const base = +width || 1000;
			const units = [ '', ' K', ' M', ' G', ' T', ' P', ' E' ];
			let number = Number(value || 0), unit = 0;

			while (unit < units.length - 1 && number > base) {
				number /= base;
				unit++;
			}

			return unit
				? number.toFixed(precision ? +precision.substring(1) : 2) + units[unit] + (base == 1024 ? 'i' : '')
				: `${number} `;
		}
		default: throw new Error(`%${kind} is not in this stand-in`);
		}
	});
} });

/* -- classes ------------------------------------------------------------------------------------------------------ */

class Class {
	constructor(...args) {
		if (typeof this.__init__ == 'function')
			this.__init__(...args);
	}

	static extend(properties) {
		const derived = class extends this {};

		Object.defineProperties(derived.prototype, Object.getOwnPropertyDescriptors(properties));

		return derived;
	}

	static isSubclass(other) {
		return typeof other == 'function' && other.prototype instanceof this;
	}
}

/* -- the document ------------------------------------------------------------------------------------------------- */

const instances = new WeakMap();

const dom = {
	elem: (value) => value != null && typeof value == 'object' && 'nodeType' in value,

	parse(html) {
		return new DOMParser().parseFromString(html, 'text/html').body.firstChild;
	},

	attr(node, key, value) {
		const all = typeof key == 'object' && key !== null ? key : { [key]: value };

		for (const [ name, value ] of Object.entries(all))
			if (typeof value == 'function')
				node.addEventListener(name, value);
			else if (value === null || value === undefined)
				node.removeAttribute(name);
			else if (typeof value == 'object')
				node.setAttribute(name, JSON.stringify(value));
			else
				node.setAttribute(name, value);
	},

	append(node, children) {
		if (!this.elem(node))
			return null;

		if (Array.isArray(children)) {
			for (const child of children)
				node.appendChild(this.elem(child) ? child : document.createTextNode(`${child}`));

			return node.lastChild;
		}

		if (typeof children == 'function')
			return this.append(node, children(node));

		if (this.elem(children))
			return node.appendChild(children);

		if (children !== null && children !== undefined) {
			node.innerHTML = `${children}`;

			return node.lastChild;
		}

		return null;
	},

	content(node, children) {
		while (node.firstChild)
			node.removeChild(node.firstChild);

		return this.append(node, children);
	},

	create(what, attributes, children) {
		if (!(attributes instanceof Object) || Array.isArray(attributes)) {
			children = attributes;
			attributes = null;
		}

		let node;

		if (Array.isArray(what)) {
			node = document.createDocumentFragment();
			what.forEach((part) => node.appendChild(this.create(part)));
		}
		else if (this.elem(what))
			node = what;
		else if (what.charAt(0) == '<')
			node = this.parse(what);
		else
			node = document.createElement(what);

		if (attributes)
			this.attr(node, attributes);

		this.append(node, children);

		return node;
	},

	bindClassInstance: (node, instance) => instances.set(node, instance),

	findClassInstance(node) {
		while (node && !instances.has(node))
			node = node.parentNode;

		return node ? instances.get(node) : null;
	},

	callClassMethod(node, method, ...args) {
		const instance = this.findClassInstance(node);

		return instance && typeof instance[method] == 'function' ? instance[method](...args) : null;
	}
};

window.E = (...args) => dom.create(...args);

/* -- polling: a tick each second, as there ------------------------------------------------------------------------- */

const poll = {
	queue: [],
	ticks: null,

	add(fn, interval) {
		if (interval == null || interval <= 0)
			interval = L.env.pollinterval;

		if (isNaN(interval) || typeof fn != 'function')
			throw new TypeError('Invalid argument to LuCI.poll.add()');

		if (this.queue.some((entry) => entry.fn === fn))
			return false;

		this.queue.push({ ready: true, interval, fn });

		if (this.ticks != null && !this.active())
			this.start();

		return true;
	},

	remove(fn) {
		const before = this.queue.length;

		this.queue = this.queue.filter((entry) => entry.fn !== fn);

		if (!this.queue.length)
			this.stop();

		return this.queue.length < before;
	},

	active() {
		return this.timer != null;
	},

	start() {
		if (this.active())
			return false;

		this.ticks = 0;

		if (this.queue.length) {
			this.timer = window.setInterval(() => this.step(), 1000);
			this.step();
		}

		return true;
	},

	stop() {
		if (!this.active())
			return false;

		window.clearInterval(this.timer);
		delete this.timer;
		this.ticks = null;

		return true;
	},

	step() {
		for (const entry of this.queue) {
			if (this.ticks % entry.interval || !entry.ready)
				continue;

			/* One that has not come back is not asked again. */
			entry.ready = false;
			Promise.resolve(entry.fn()).finally(() => { entry.ready = true });
		}

		this.ticks++;
	}
};

/* -- ubus over JSON-RPC -------------------------------------------------------------------------------------------- */

const STATUS = [ 'Command OK', 'Invalid command', 'Invalid argument', 'Method not found', 'Resource not found', 'No data received',
	'Permission denied', 'Request timeout', 'Not supported', 'Unspecified error', 'Connection lost' ];

let requests = 1;

const rpc = {
	declare(options) {
		return async (...args) => {
			const names = options.params || [];
			const params = {};

			names.forEach((name, index) => { params[name] = args[index] });

			const message = {
				jsonrpc: '2.0', id: requests++, method: 'call', params: [ L.env.sessionid, options.object, options.method, params ]
			};

			const answer = await fetch(`${L.url('admin/ubus')}/${options.object}.${options.method}`, {
				method: 'POST', body: JSON.stringify(message)
			});

			if (!answer.ok)
				L.raise('RPCError', 'RPC call to %s/%s failed with HTTP error %d: %s', options.object, options.method, answer.status, answer.statusText);

			const reply = await answer.json();

			await this.intercept(reply, options);

			if (L.isObject(reply.error) && reply.error.code && reply.error.message)
				L.raise('RPCError', 'RPC call to %s/%s failed with error %d: %s', options.object, options.method, reply.error.code, reply.error.message);

			let value = null;

			if (Array.isArray(reply.result)) {
				if (options.reject && reply.result[0] !== 0)
					L.raise('RPCError', 'RPC call to %s/%s failed with ubus code %d: %s', options.object, options.method,
						reply.result[0], STATUS[reply.result[0]] || 'Unknown error code');

				value = reply.result.length > 1 ? reply.result[1] : reply.result[0];
			}

			for (const [ key, fallback ] of Object.entries(options.expect || {})) {
				const kind = Object.prototype.toString;

				if (value != null && key != '')
					value = value[key];

				if (value == null || kind.call(value) != kind.call(fallback))
					value = fallback;

				break;
			}

			return value;
		};
	},

	/* A refusal may mean that the session is over: then all polling stops, and the user is told. */
	async intercept(reply, options) {
		if (!L.isObject(reply.error) || reply.error.code != -32002 || options.object == 'session')
			return;

		const alive = await this.declare({
			object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false }
		})('uci', 'luci', 'read').catch(() => false);

		if (!alive) {
			poll.stop();
			L.ui.showModal(_('Session expired'), [
				E('div', { 'class': 'alert-message warning' }, [ _('A new login is required since the authentication session expired.') ])
			]);
			throw new Error('Session expired');
		}
	}
};

/* -- views --------------------------------------------------------------------------------------------------------- */

class View extends Class {
	async __init__() {
		const port = document.getElementById('view');

		dom.content(port, E('div', { 'class': 'spinning' }, _('Loading view…')));

		try {
			const nodes = await this.render(await this.load());

			dom.content(port, nodes);
			dom.append(port, this.addFooter());
			document.body.setAttribute('data-shown', 'true');
		}
		catch (error) {
			L.error(error);
		}
	}

	load() {}

	render() {}

	handleSave() {
		const maps = document.getElementById('maincontent').querySelectorAll('.cbi-map');

		return Promise.all([ ...maps ].map((map) => dom.callClassMethod(map, 'save')));
	}

	handleSaveApply(ev, mode) {
		return this.handleSave(ev).then(() => L.ui.changes.apply(mode == '0'));
	}

	handleReset() {
		const maps = document.getElementById('maincontent').querySelectorAll('.cbi-map');

		return Promise.all([ ...maps ].map((map) => dom.callClassMethod(map, 'reset')));
	}

	addFooter() {
		const maps = [ ...document.querySelectorAll('#view .cbi-map') ].map((map) => dom.findClassInstance(map));
		const readonly = maps.length ? maps.every((map) => map.readonly) : false;
		const button = (kind, handler, title, ...args) => this[handler] ? [ E('button', {
			'class': `cbi-button cbi-button-${kind}`, 'click': L.ui.createHandlerFn(this, handler, ...args), 'disabled': readonly || null
		}, [ title ]), ' ' ] : [];

		if (!this.handleSave && !this.handleSaveApply && !this.handleReset)
			return E([]);

		/* createHandlerFn() gives the event last: the mode of saving comes after it there, which only a test would tell. */
		return E('div', { 'class': 'cbi-page-actions' }, [
			...(this.handleSaveApply ? [ E('button', {
				'class': 'cbi-button cbi-button-apply', 'click': L.ui.createHandlerFn(this, (ev) => this.handleSaveApply(ev, '0')), 'disabled': readonly || null
			}, [ _('Save & Apply') ]), ' ' ] : []),
			...button('save', 'handleSave', _('Save')),
			...button('reset', 'handleReset', _('Reset'))
		]);
	}
}

/* -- the loader ---------------------------------------------------------------------------------------------------- */

const PRAGMA = /^\s*(?:'require[ \t]+(\S+?)(?:[ \t]+as[ \t]+([a-zA-Z_]\S*))?'|'use strict')\s*;?/;

const loaded = new Map();

window.L = {
	env: window.STUB_ENV,
	dom, poll, rpc,

	bind: (fn, self, ...args) => fn.bind(self, ...args),
	isObject: (value) => value != null && typeof value == 'object',
	toArray: (value) => value == null ? [] : Array.isArray(value) ? value : typeof value == 'object' ? [ value ] : String(value).trim().split(/\s+/).filter((word) => word != ''),
	naturalCompare: new Intl.Collator(undefined, { numeric: true }).compare,
	resolveDefault: (value, fallback) => Promise.resolve(value).catch(() => fallback),
	url: (...parts) => [ L.env.scriptname, ...parts.map((part) => part.replace(/^\/+|\/+$/g, '')) ].join('/'),
	resource: (...parts) => [ L.env.resource, ...parts ].join('/'),
	path: (prefix, parts) => [ prefix, ...parts ].join('/'),

	raise(kind, pattern, ...args) {
		const error = new Error(pattern ? String(pattern).format(...args) : '');

		error.name = kind || 'Error';
		throw error;
	},

	error(error) {
		document.body.setAttribute('data-failed', error.stack || error.message || error);
		console.error(error);

		if (L.ui)
			L.ui.addNotification(_('Runtime error'), [ E('p', [ error.message || error ]) ], 'danger');
	},

	require(name) {
		if (!loaded.has(name))
			loaded.set(name, load(name));

		return loaded.get(name);
	}
};

[ [ 'baseclass', Class ], [ 'dom', dom ], [ 'poll', poll ], [ 'rpc', rpc ], [ 'view', View ] ].forEach(([ name, value ]) =>
	loaded.set(name, Promise.resolve(value)));

async function load(name) {
	const url = `${L.env.resource}/${name.replace(/\./g, '/')}.js`;
	const answer = await fetch(url);

	if (!answer.ok)
		throw new Error(`HTTP error ${answer.status} while loading class file "${url}"`);

	const source = await answer.text();
	const aliases = [], wanted = [];
	let rest = source.replace(/^(\s*\/\*[\s\S]*?\*\/)?/, '');

	for (let match; (match = PRAGMA.exec(rest)) != null; rest = rest.substring(match[0].length))
		if (match[1]) {
			wanted.push(match[1]);
			aliases.push(match[2] || match[1].replace(/[^a-zA-Z0-9_]/g, '_'));
		}

	const dependencies = await Promise.all(wanted.map((dependency) => L.require(dependency)));
	const factory = new Function('window', 'document', 'L', ...aliases, `${source}\n//# sourceURL=${url}`);
	const yielded = factory.call(window, window, document, L, ...dependencies);

	if (!Class.isSubclass(yielded))
		throw new TypeError(`"${name}" factory yields invalid constructor`);

	const instance = new yielded();

	if (!name.includes('.'))
		L[name] = instance;

	return instance;
}

document.addEventListener('DOMContentLoaded', () => {
	L.require('ui').then(() => {
		poll.start();

		return L.require(`view.${L.env.view.replace(/\//g, '.')}`);
	}).catch(L.error);
});

})();
