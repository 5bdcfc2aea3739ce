'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';
'require ui';

/*
 * As LuCI's form.js: a tree of map, sections and options that is loaded, rendered, parsed and saved. Where LuCI makes HTML of a
 * string (titles, descriptions, what textvalue() returns), this does too.
 */
const callSessionAccess = rpc.declare({
	object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false }
});

const same = (a, b) => Array.isArray(a) || Array.isArray(b)
	? L.toArray(a).length == L.toArray(b).length && L.toArray(a).every((item, index) => item == L.toArray(b)[index])
	: (a ?? '') === (b ?? '') || (a == null && b == null);

class AbstractElement {
	constructor(title, description) {
		this.title = title || '';
		this.description = description || '';
		this.children = [];
	}

	append(child) {
		this.children.push(child);
	}

	/* Takes tags away, and decodes entities: which makes tags of what was escaped. */
	stripTags(text) {
		if (typeof text == 'string' && !/[<>&]/.test(text))
			return text;

		return dom.parse(`<div>${text}</div>`).textContent;
	}

	titleFn(name, ...args) {
		const value = typeof this[name] == 'function' ? this[name](...args)
			: typeof this[name] == 'string' ? (args.length ? this[name].format(...args) : this[name]) : null;
		const text = value == null ? '' : this.stripTags(String(value)).trim();

		return text == '' ? null : text;
	}
}

class CBIMap extends AbstractElement {
	constructor(config, title, description) {
		super(title, description);
		this.config = config;
		this.data = uci;
	}

	section(kind, ...args) {
		if (!(kind.prototype instanceof AbstractSection))
			L.raise('TypeError', 'Class must be a descendent of CBIAbstractSection');

		const section = new kind(this, ...args);

		this.append(section);

		return section;
	}

	findElement(name, value) {
		return this.root.querySelector(value === undefined ? name : `[${name}="${value}"]`);
	}

	async load() {
		const [ writable ] = await Promise.all([
			this.readonly == null ? callSessionAccess('uci', this.config, 'write') : true, this.data.load(this.config)
		]);

		if (writable === false)
			this.readonly = true;

		await Promise.all(this.children.map((section) => section.load()));
	}

	parse() {
		return Promise.all(this.children.map((section) => section.parse()));
	}

	save(callback, silent) {
		this.checkDepends();

		return this.parse()
			.then(callback)
			.then(() => this.data.save())
			.then(() => this.load())
			.catch((error) => {
				if (!silent)
					ui.showModal(_('Save error'), [
						E('p', {}, [ _('An error occurred while saving the form:') ]),
						E('p', {}, [ E('em', { 'style': 'white-space:pre-wrap' }, [ error.message ]) ]),
						E('div', { 'class': 'right' }, [ E('button', { 'class': 'cbi-button', 'click': ui.hideModal }, [ _('Dismiss') ]) ])
					]);

				return Promise.reject(error);
			})
			.then(() => this.renderContents());
	}

	reset() {
		return this.renderContents();
	}

	async render() {
		await this.load();

		return this.renderContents();
	}

	async renderContents() {
		this.root ||= E('div', { 'id': `cbi-${this.config}`, 'class': 'cbi-map' });
		dom.bindClassInstance(this.root, this);

		const nodes = await Promise.all(this.children.map((section) => section.render()));

		dom.content(this.root, null);

		if (this.title)
			this.root.appendChild(E('h2', { 'name': 'content' }, this.title));

		if (this.description)
			this.root.appendChild(E('div', { 'class': 'cbi-map-descr' }, this.description));

		dom.append(this.root, nodes);
		this.checkDepends();
		this.root.querySelectorAll('.cbi-section-node-tabbed').forEach((group) => ui.tabs.initTabGroup(group.childNodes));

		return this.root;
	}

	lookupOption(name, sid) {
		const node = this.findElement('data-field', `cbid.${this.config}.${sid}.${name}`);
		const option = node ? dom.findClassInstance(node) : null;

		return option instanceof AbstractValue ? option : null;
	}

	checkDepends(depth) {
		const changed = this.children.map((section) => section.checkDepends(+depth || 0)).includes(true);

		if (changed && (+depth || 0) < 10)
			this.checkDepends((+depth || 0) + 1);
	}

	isDependencySatisfied(depends, sid) {
		return !depends.length || depends.some((dependency) => Object.entries(dependency).every(([ name, value ]) => {
			const option = this.lookupOption(name, sid);

			return same(option && option.isActive(sid) ? option.formvalue(sid) : null, value);
		}));
	}
}

class AbstractSection extends AbstractElement {
	constructor(map, type, title, description) {
		super(title, description);
		this.map = map;
		this.sectiontype = type;
	}

	tab(name, title) {
		(this.tabs ||= []).push({ name, title });
	}

	option(kind, ...args) {
		const option = new kind(this.map, this, ...args);

		this.append(option);

		return option;
	}

	taboption(tab, kind, ...args) {
		if (!this.tabs || !this.tabs.some(({ name }) => name == tab))
			L.raise('ReferenceError', 'Associated tab not declared');

		const option = this.option(kind, ...args);

		option.tab = tab;

		return option;
	}

	load() {
		return Promise.all(this.cfgsections().flatMap((sid) => this.children.map((option) =>
			Promise.resolve(option.load(sid)).then((value) => option.cfgvalue(sid, value)))));
	}

	parse() {
		return Promise.all(this.cfgsections().flatMap((sid) => this.children.map((option) => option.parse(sid))));
	}

	getOption(name) {
		return this.children.find((option) => option.option == name) || null;
	}

	formvalue(sid, name) {
		return this.getOption(name)?.formvalue(sid) ?? null;
	}

	getUIElement(sid, name) {
		return this.getOption(name)?.getUIElement(sid) ?? null;
	}

	/* Also judges what is shown: on rendering, on each change, and before saving. */
	checkDepends(depth) {
		let changed = false;

		for (const sid of this.cfgsections())
			for (const option of this.children) {
				if (option.setActive(sid, this.map.isDependencySatisfied(option.deps, sid)))
					changed = true;

				if (!depth && option.isActive(sid))
					option.getUIElement(sid)?.triggerValidation();
			}

		return changed;
	}

	async renderUCISection(sid) {
		const rendered = (tab) => Promise.all(this.children.filter((option) => option.tab == tab).map((option) => option.render(sid, false)));

		if (!this.tabs)
			return rendered(undefined);

		return Promise.all(this.tabs.map(async ({ name, title }) =>
			E('div', { 'id': `container.${this.map.config}.${sid}.${name}`, 'data-tab': name, 'data-tab-title': title }, await rendered(name))));
	}

	renderNode(sid, nodes) {
		return E('div', {
			'id': `cbi-${this.map.config}-${sid}`, 'data-section-id': sid,
			'class': this.tabs ? 'cbi-section-node cbi-section-node-tabbed' : 'cbi-section-node'
		}, nodes);
	}
}

class TypedSection extends AbstractSection {
	cfgsections() {
		return this.map.data.sections(this.map.config, this.sectiontype).map((section) => section['.name']);
	}

	handleAdd(ev, name) {
		this.map.data.add(this.map.config, this.sectiontype, name);

		return this.map.save(null, true);
	}

	handleRemove(sid) {
		this.map.data.remove(this.map.config, sid);

		return this.map.save(null, true);
	}

	renderSectionAdd() {
		if (!this.addremove)
			return E([]);

		const title = this.titleFn('addbtntitle') || _('Add');

		if (this.anonymous)
			return E('div', { 'class': 'cbi-section-create' }, [ E('button', {
				'class': 'cbi-button cbi-button-add', 'title': title, 'click': ui.createHandlerFn(this, 'handleAdd'), 'disabled': this.map.readonly || null
			}, [ title ]) ]);

		const name = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'disabled': this.map.readonly || null });
		const button = E('button', {
			'class': 'cbi-button cbi-button-add', 'title': title, 'disabled': true,
			'click': ui.createHandlerFn(this, (ev) => name.classList.contains('cbi-input-invalid') ? null : this.handleAdd(ev, name.value))
		}, [ title ]);

		ui.addValidator(name, 'uciname', true, (value) => {
			button.disabled = value === '';

			return value !== '' || _('Expecting: %s').format(_('non-empty value'));
		}, 'blur', 'keyup');

		return E('div', { 'class': 'cbi-section-create' }, [ E('div', {}, name), button ]);
	}

	renderHead() {
		const node = E('div', { 'id': `cbi-${this.map.config}-${this.sectiontype}`, 'class': 'cbi-section' });

		if (this.title)
			node.appendChild(E('h3', {}, this.title));

		if (this.description)
			node.appendChild(E('div', { 'class': 'cbi-section-descr' }, this.description));

		dom.bindClassInstance(node, this);

		return node;
	}

	async render() {
		const node = this.renderHead();
		const sids = this.cfgsections();

		for (const sid of sids) {
			if (this.addremove)
				node.appendChild(E('div', { 'class': 'cbi-section-remove right' }, [ E('button', {
					'class': 'cbi-button', 'data-section-id': sid, 'click': ui.createHandlerFn(this, 'handleRemove', sid), 'disabled': this.map.readonly || null
				}, [ _('Delete') ]) ]));

			if (!this.anonymous)
				node.appendChild(E('h3', sid.toUpperCase()));

			node.appendChild(this.renderNode(sid, await this.renderUCISection(sid)));
		}

		if (!sids.length)
			node.appendChild(E('em', _('This section contains no values yet')));

		node.appendChild(this.renderSectionAdd());

		return node;
	}
}

class NamedSection extends AbstractSection {
	constructor(map, sid, type, title, description) {
		super(map, type, title, description);
		this.section = sid;
	}

	cfgsections() {
		return [ this.section ];
	}

	async render() {
		const node = E('div', { 'class': 'cbi-section' }, [ this.renderNode(this.section, await this.renderUCISection(this.section)) ]);

		dom.bindClassInstance(node, this);

		return node;
	}
}

class GridSection extends TypedSection {
	columns() {
		return this.children.filter((option) => !option.modalonly);
	}

	parse() {
		return Promise.all(this.cfgsections().flatMap((sid) =>
			this.children.filter((option) => option.editable && !option.modalonly).map((option) => option.parse(sid))));
	}

	async render() {
		const node = this.renderHead();
		const sids = this.cfgsections();
		const table = E('table', { 'class': 'table cbi-section-table' }, [
			E('tr', { 'class': 'tr cbi-section-table-titles anonymous' }, this.columns().map((option) =>
				E('th', { 'class': 'th cbi-section-table-cell' }, option.title)).concat([ E('th', { 'class': 'th cbi-section-table-cell cbi-section-actions' }) ]))
		]);

		for (const sid of sids)
			table.appendChild(E('tr', {
				'id': `cbi-${this.map.config}-${sid}`, 'class': 'tr cbi-section-table-row', 'data-sid': sid, 'data-section-id': sid
			}, (await Promise.all(this.columns().map((option) => option.editable ? option.render(sid, true) : this.renderTextValue(sid, option))))
				.concat([ this.renderRowActions(sid) ])));

		if (!sids.length)
			table.appendChild(E('tr', { 'class': 'tr cbi-section-table-row placeholder' }, [
				E('td', { 'class': 'td' }, E('em', _('This section contains no values yet')))
			]));

		dom.append(node, [ table, this.renderSectionAdd() ]);

		return node;
	}

	renderTextValue(sid, option) {
		const value = option.textvalue(sid);

		return E('td', {
			'class': 'td cbi-value-field', 'data-title': this.stripTags(option.title).trim() || null, 'data-name': option.option,
			'data-widget': 'CBI.DummyValue'
		}, value != null ? value : E('em', _('none')));
	}

	renderRowActions(sid) {
		return E('td', { 'class': 'td cbi-section-table-cell nowrap cbi-section-actions' }, E('div', {}, [
			E('button', { 'class': 'cbi-button cbi-button-edit', 'click': ui.createHandlerFn(this, 'renderMoreOptionsModal', sid) }, [ _('Edit') ]),
			E('button', {
				'class': 'cbi-button cbi-button-remove', 'click': ui.createHandlerFn(this, 'handleRemove', sid), 'disabled': this.map.readonly || null
			}, [ _('Delete') ])
		]));
	}

	handleAdd() {
		const sid = this.map.data.add(this.map.config, this.sectiontype);

		this.map.addedSection = sid;

		return this.renderMoreOptionsModal(sid);
	}

	async renderMoreOptionsModal(sid) {
		const map = new CBIMap(this.map.config);
		const section = map.section(NamedSection, sid, this.sectiontype);

		map.parent = this.map;
		map.readonly = this.map.readonly;
		section.tabs = this.tabs;

		for (const option of this.children) {
			if (option.modalonly === false)
				continue;

			const clone = section.option(option.constructor, option.option, option.title, option.description);

			for (const [ key, value ] of Object.entries(option))
				if (![ 'map', 'section', 'option', 'title', 'description' ].includes(key))
					clone[key] = value;
		}

		const nodes = await map.render();
		const title = this.titleFn('modaltitle', sid) ?? this.titleFn('sectiontitle', sid) ?? this.map.title;

		ui.showModal(title, [ nodes, E('div', { 'class': 'right' }, [
			E('button', { 'class': 'cbi-button', 'click': ui.createHandlerFn(this, 'handleModalCancel', map) }, [ _('Dismiss') ]), ' ',
			E('button', {
				'class': 'cbi-button cbi-button-positive important', 'click': ui.createHandlerFn(this, 'handleModalSave', map), 'disabled': map.readonly || null
			}, [ _('Save') ])
		]) ], 'cbi-modal');
	}

	handleModalSave(map) {
		return map.save(null, true)
			.then(() => this.map.load())
			.then(() => this.map.reset())
			.then(() => {
				delete this.map.addedSection;
				ui.hideModal();
			});
	}

	handleModalCancel() {
		if (this.map.addedSection != null)
			this.map.data.remove(this.map.config, this.map.addedSection);

		delete this.map.addedSection;
		ui.hideModal();
	}
}

class AbstractValue extends AbstractElement {
	constructor(map, section, option, title, description) {
		super(title, description);
		Object.assign(this, { map, section, option, deps: [], rmempty: true, default: null, optional: false });
	}

	depends(name, value) {
		this.deps.push(typeof name == 'string' ? { [name]: value } : name);
	}

	cbid(sid) {
		return `cbid.${this.map.config}.${sid}.${this.option}`;
	}

	load(sid) {
		return this.map.data.get(this.map.config, sid, this.option);
	}

	cfgvalue(sid, ...set) {
		if (set.length)
			(this.data ||= {})[sid] = set[0];

		return this.data?.[sid];
	}

	getUIElement(sid) {
		const node = this.map.findElement('id', this.cbid(sid));
		const widget = node ? dom.findClassInstance(node) : null;

		return widget instanceof ui.AbstractElement ? widget : null;
	}

	formvalue(sid) {
		return this.getUIElement(sid)?.getValue() ?? null;
	}

	textvalue(sid) {
		const value = this.cfgvalue(sid) ?? this.default;

		return value != null ? '%h'.format(value) : null;
	}

	validate() {
		return true;
	}

	isValid(sid) {
		return this.getUIElement(sid)?.isValid() ?? true;
	}

	frame(sid) {
		return this.map.findElement('data-field', this.cbid(sid));
	}

	isActive(sid) {
		const field = this.frame(sid);

		return field != null && !field.classList.contains('hidden');
	}

	setActive(sid, active) {
		const field = this.frame(sid);

		if (!field || field.classList.contains('hidden') != active)
			return false;

		field.classList.toggle('hidden', !active);

		return true;
	}

	reject(sid, why) {
		return Promise.reject(new TypeError(`${why.format(this.stripTags(this.title).trim() || this.option)} ${this.getUIElement(sid)?.getValidationError() ?? ''}`));
	}

	parse(sid) {
		if (!this.isActive(sid))
			return Promise.resolve(this.remove(sid));

		if (!this.isValid(sid))
			return this.reject(sid, _('Option "%s" contains an invalid input value.'));

		const value = this.formvalue(sid);

		if (value == null || value == '') {
			if (this.rmempty || this.optional)
				return Promise.resolve(this.remove(sid));

			return this.reject(sid, _('Option "%s" must not be empty.'));
		}

		return Promise.resolve(same(this.cfgvalue(sid), value) ? null : this.write(sid, value));
	}

	write(sid, value) {
		this.map.data.set(this.map.config, sid, this.option, value);
	}

	remove(sid) {
		this.map.data.unset(this.map.config, sid, this.option);
	}

	value(key, title) {
		(this.keylist ||= []).push(String(key));
		(this.vallist ||= []).push(dom.elem(title) ? title : String(title ?? key));
	}

	choices() {
		return this.keylist?.length ? Object.fromEntries(this.keylist.map((key, index) => [ key, this.vallist[index] ])) : null;
	}

	widgetOptions(sid) {
		return {
			id: this.cbid(sid), sort: this.keylist, optional: this.optional || this.rmempty, datatype: this.datatype,
			placeholder: this.placeholder, password: this.password, validate: (value) => this.validate(sid, value), disabled: this.map.readonly
		};
	}

	async render(sid, inTable) {
		const widget = await this.renderWidget(sid, this.cfgvalue(sid) ?? this.default);
		const frame = E('div', {
			'class': inTable ? null : 'cbi-value', 'id': `cbi-${this.map.config}-${sid}-${this.option}`,
			'data-field': this.cbid(sid), 'data-name': this.option
		});

		if (!inTable && this.title !== '') {
			frame.appendChild(E('label', { 'class': 'cbi-value-title', 'for': `widget.${this.cbid(sid)}` }, this.title));
			frame.appendChild(E('div', { 'class': 'cbi-value-field' }));
		}

		(frame.lastChild || frame).appendChild(widget);

		if (!inTable && this.description !== '')
			frame.lastChild.appendChild(E('div', { 'class': 'cbi-value-description' }, this.description.trim()));

		if (this.deps.length)
			frame.classList.add('hidden');

		let previous;

		frame.addEventListener('widget-change', () => this.map.checkDepends());
		frame.addEventListener('widget-change', (ev) => {
			const value = this.formvalue(sid);

			if (typeof this.onchange == 'function' && !same(value, previous))
				this.onchange(ev, sid, previous = value);
		});
		dom.bindClassInstance(frame, this);

		return inTable ? E('td', { 'class': 'td cbi-value-field', 'data-title': this.stripTags(this.title).trim(), 'data-name': this.option }, frame) : frame;
	}
}

class Value extends AbstractValue {
	renderWidget(sid, value) {
		return new ui.Textfield(Array.isArray(value) ? value.join(' ') : value, this.widgetOptions(sid)).render();
	}
}

class ListValue extends AbstractValue {
	renderWidget(sid, value) {
		return new ui.Select(value, this.choices(), Object.assign(this.widgetOptions(sid), { optional: this.optional })).render();
	}
}

class DynamicList extends AbstractValue {
	renderWidget(sid, value) {
		return new ui.DynamicList(L.toArray(value), this.choices(), this.widgetOptions(sid)).render();
	}
}

class Flag extends AbstractValue {
	constructor(...args) {
		super(...args);
		this.enabled = '1';
		this.disabled = '0';
		this.default = this.disabled;
	}

	renderWidget(sid, value) {
		return new ui.Checkbox(value, Object.assign(this.widgetOptions(sid), { value_enabled: this.enabled, value_disabled: this.disabled })).render();
	}

	textvalue(sid) {
		return (this.cfgvalue(sid) ?? this.default) == this.enabled ? _('Yes') : _('No');
	}

	parse(sid) {
		if (!this.isActive(sid))
			return Promise.resolve(this.remove(sid));

		const value = this.formvalue(sid);

		return Promise.resolve(value == this.default && (this.optional || this.rmempty) ? this.remove(sid) : this.write(sid, value));
	}
}

class DummyValue extends AbstractValue {
	renderWidget(sid, value) {
		const output = E('div');

		dom.append(output, this.rawhtml ? (value || '') : [ value ]);

		return E([ output, new ui.Hiddenfield(dom.elem(value) ? '' : value, { id: this.cbid(sid) }).render() ]);
	}

	write() {}
	remove() {}
}

class Button extends DummyValue {
	renderWidget(sid, value) {
		return E([
			E('div', {}, [ E('button', {
				'class': `cbi-button cbi-button-${this.inputstyle || 'button'}`, 'disabled': this.map.readonly || null,
				'click': ui.createHandlerFn(this, (sid, ev) => this.onclick(ev, sid), sid)
			}, [ this.titleFn('inputtitle', sid) || this.titleFn('title', sid) ]) ]),
			new ui.Hiddenfield(value, { id: this.cbid(sid) }).render()
		]);
	}
}

return baseclass.extend({ Map: CBIMap, TypedSection, NamedSection, GridSection, Value, ListValue, DynamicList, Flag, DummyValue, Button });
