'use strict';
'require baseclass';
'require rpc';

/* As LuCI's uci.js: changes are kept here until save(), which makes of them the calls of rpcd's uci object. */
return baseclass.extend({
	__init__() {
		this.state = { values: {}, creates: {}, changes: {}, deletes: {} };
		this.created = 0;

		const declare = (method, params, expect) => rpc.declare({ object: 'uci', method, params, expect });

		this.callLoad = declare('get', [ 'config' ], { values: {} });
		this.callAdd = declare('add', [ 'config', 'type', 'name', 'values' ], { section: '' });
		this.callSet = declare('set', [ 'config', 'section', 'values' ]);
		this.callDelete = declare('delete', [ 'config', 'section', 'options' ]);
	},

	async load(configs) {
		const missing = [].concat(configs).filter((config) => !this.state.values[config]);
		const values = await Promise.all(missing.map((config) => this.callLoad(config)));

		missing.forEach((config, index) => { this.state.values[config] = values[index] });

		return missing;
	},

	unload(configs) {
		for (const config of [].concat(configs))
			for (const kind in this.state)
				delete this.state[kind][config];
	},

	add(config, type, name) {
		const sid = name || `new${(0x100000 + this.created).toString(16)}`;

		(this.state.creates[config] ||= {})[sid] = {
			'.type': type, '.name': sid, '.create': name, '.anonymous': !name, '.index': 1000 + this.created++
		};

		return sid;
	},

	remove(config, sid) {
		const { creates, changes, deletes } = this.state;

		if (creates[config]?.[sid]) {
			delete creates[config][sid];
		}
		else {
			delete changes[config]?.[sid];
			(deletes[config] ||= {})[sid] = true;
		}
	},

	sections(config, type, callback) {
		const { values, creates, changes, deletes } = this.state;

		if (!values[config])
			return [];

		const all = Object.keys(values[config])
			.filter((sid) => deletes[config]?.[sid] !== true && (!type || values[config][sid]['.type'] == type))
			.map((sid) => Object.assign({}, values[config][sid], changes[config]?.[sid]));

		for (const section of Object.values(creates[config] || {}))
			if (!type || section['.type'] == type)
				all.push(Object.assign({}, section));

		all.sort((a, b) => a['.index'] - b['.index']);

		if (callback)
			all.forEach((section) => callback.call(this, section, section['.name']));

		return all;
	},

	get(config, sid, option) {
		const { values, creates, changes, deletes } = this.state;

		if (sid == null)
			return null;

		const fresh = creates[config]?.[sid];

		if (fresh)
			return option == null ? fresh : fresh[option];

		if (option == null)
			return values[config]?.[sid];

		const gone = deletes[config]?.[sid];

		if (gone === true || gone?.includes(option))
			return undefined;

		return changes[config]?.[sid]?.[option] ?? values[config]?.[sid]?.[option];
	},

	set(config, sid, option, value) {
		const { values, creates, changes, deletes } = this.state;

		if (sid == null || option == null || option.charAt(0) == '.')
			return;

		if (creates[config]?.[sid]) {
			if (value != null)
				creates[config][sid][option] = value;
			else
				delete creates[config][sid][option];
		}
		else if (value != null && value !== '') {
			if (deletes[config]?.[sid] === true || !values[config]?.[sid])
				return;

			((changes[config] ||= {})[sid] ||= {})[option] = value;

			if (deletes[config]?.[sid]) {
				deletes[config][sid] = deletes[config][sid].filter((name) => name !== option);

				if (!deletes[config][sid].length)
					delete deletes[config][sid];
			}
		}
		else {
			if (values[config]?.[sid]?.[option] === undefined && changes[config]?.[sid]?.[option] === undefined)
				return;

			const gone = (deletes[config] ||= {})[sid] ||= [];

			if (gone !== true)
				gone.push(option);
		}
	},

	unset(config, sid, option) {
		this.set(config, sid, option, null);
	},

	async save() {
		const { creates, changes, deletes } = this.state;
		const touched = new Set(), tasks = [];

		for (const config in deletes)
			for (const sid in deletes[config]) {
				touched.add(config);
				tasks.push(() => this.callDelete(config, sid, deletes[config][sid] === true ? null : deletes[config][sid]));
			}

		for (const config in creates)
			for (const section of Object.values(creates[config])) {
				const values = Object.fromEntries(Object.entries(section).filter(([ key ]) => key.charAt(0) != '.'));

				touched.add(config);
				tasks.push(() => this.callAdd(config, section['.type'], section['.create'], values).then((name) => { section['.name'] = name }));
			}

		for (const config in changes)
			for (const sid in changes[config]) {
				touched.add(config);
				tasks.push(() => this.callSet(config, sid, changes[config][sid]));
			}

		/* There they go in one batch, which keeps their order as well. */
		for (const task of tasks)
			await task();

		this.unload([ ...touched ]);
		await this.load([ ...touched ]);
	}
});
