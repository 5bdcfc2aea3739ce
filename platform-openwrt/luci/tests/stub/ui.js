'use strict';
'require baseclass';
'require dom';
'require validation';

/* The widgets that LuCI's ui.js makes for the options that the views use. */
class AbstractElement {
	constructor(value, options) {
		this.value = value;
		this.options = options || {};
	}

	bind(frame, field, updates) {
		this.node = frame;
		this.field = field;
		this.validator = validation.create(field, this.options.datatype, this.options.optional, this.options.validate);

		for (const name of updates)
			field.addEventListener(name, () => this.triggerValidation());

		field.addEventListener('change', () => this.changed());
		dom.bindClassInstance(frame, this);

		return frame;
	}

	changed() {
		this.triggerValidation();
		this.node.dispatchEvent(new CustomEvent('widget-change', { bubbles: true }));
	}

	getValue() { return this.field.value }
	setValue(value) { this.field.value = value ?? '' }
	triggerValidation() { return this.validator.validate() }
	isValid() { return this.validator.error == null }
	getValidationError() { return this.validator.error || '' }
}

class Textfield extends AbstractElement {
	render() {
		const frame = E('div', { 'id': this.options.id });
		const field = E('input', {
			'id': `widget.${this.options.id}`, 'type': this.options.password ? 'password' : 'text',
			'class': this.options.password ? 'cbi-input-password' : 'cbi-input-text',
			'placeholder': this.options.placeholder, 'disabled': this.options.disabled ? '' : null, 'autocomplete': 'off'
		});

		field.value = this.value ?? '';

		if (this.options.password)
			frame.appendChild(E('div', { 'class': 'control-group' }, [
				field,
				E('button', { 'class': 'cbi-button cbi-button-neutral', 'title': _('Reveal/hide password'), 'click': (ev) => {
					field.type = field.type == 'password' ? 'text' : 'password';
					ev.preventDefault();
				} }, [ '∗' ])
			]));
		else
			frame.appendChild(field);

		return this.bind(frame, field, [ 'keyup', 'blur' ]);
	}
}

class Checkbox extends AbstractElement {
	render() {
		const field = E('input', {
			'id': `widget.${this.options.id}`, 'type': 'checkbox', 'disabled': this.options.disabled ? '' : null
		});

		field.checked = this.value == this.options.value_enabled;

		return this.bind(E('div', { 'id': this.options.id, 'class': 'cbi-checkbox' }, [ field ]), field, []);
	}

	isChecked() { return this.field.checked }
	getValue() { return this.isChecked() ? this.options.value_enabled : this.options.value_disabled }
	setValue(value) { this.field.checked = value == this.options.value_enabled }
	triggerValidation() { return true }
	isValid() { return true }
}

class Select extends AbstractElement {
	constructor(value, choices, options) {
		super(value, options);
		this.choices = choices || {};
	}

	render() {
		const keys = this.options.sort || Object.keys(this.choices);
		const field = E('select', {
			'id': `widget.${this.options.id}`, 'class': 'cbi-input-select', 'disabled': this.options.disabled ? '' : null
		}, keys.map((key) => E('option', { 'value': key, 'selected': key == this.value ? '' : null }, [ this.choices[key] ?? key ])));

		return this.bind(E('div', { 'id': this.options.id }, [ field ]), field, [ 'click', 'blur' ]);
	}
}

class Hiddenfield extends AbstractElement {
	render() {
		const field = E('input', { 'id': this.options.id, 'type': 'hidden', 'value': this.value ?? '' });

		return this.bind(field, field, []);
	}

	triggerValidation() { return true }
	isValid() { return true }
}

class DynamicList extends AbstractElement {
	constructor(value, choices, options) {
		super(value, options);
	}

	render() {
		const input = E('input', {
			'id': `widget.${this.options.id}`, 'type': 'text', 'class': 'cbi-input-text', 'disabled': this.options.disabled ? '' : null
		});
		const frame = E('div', { 'id': this.options.id, 'class': 'cbi-dynlist' }, [
			E('div', { 'class': 'add-item control-group' }, [
				input,
				E('div', { 'class': 'btn cbi-button cbi-button-add', 'click': () => this.take() }, [ '+' ])
			])
		]);

		this.options = Object.assign({}, this.options, { optional: true });
		this.bind(frame, input, [ 'keyup', 'blur' ]);
		input.addEventListener('keydown', (ev) => {
			if (ev.key == 'Enter') {
				ev.preventDefault();
				this.take();
			}
		});
		this.value.forEach((item) => this.addItem(item));

		return frame;
	}

	take() {
		if (this.field.value == '' || !this.triggerValidation())
			return;

		this.addItem(this.field.value);
		this.field.value = '';
		this.changed();
	}

	addItem(text) {
		const item = E('div', { 'class': 'item', 'tabindex': 0, 'click': () => { item.remove(); this.changed() } }, [
			E('span', {}, [ text ]), E('input', { 'type': 'hidden', 'value': text })
		]);

		this.node.insertBefore(item, this.node.lastElementChild);
	}

	getValue() {
		const items = [ ...this.node.querySelectorAll('.item > input') ].map((input) => input.value);

		/* What stands in the field and is right counts as well. */
		return this.field.value != '' && this.validator.validate() ? items.concat([ this.field.value ]) : items;
	}
}

const tabs = {
	initTabGroup(panes) {
		panes = [ ...panes ].filter((pane) => pane.getAttribute && pane.getAttribute('data-tab'));

		if (!panes.length)
			return;

		const menu = E('ul', { 'class': 'cbi-tabmenu' });

		panes.forEach((pane, index) => {
			const tab = pane.getAttribute('data-tab');

			pane.setAttribute('data-tab-active', index == 0);
			menu.appendChild(E('li', { 'class': index == 0 ? 'cbi-tab' : 'cbi-tab-disabled', 'data-tab': tab }, [
				E('a', { 'href': '#', 'click': (ev) => {
					ev.preventDefault();
					panes.forEach((other) => other.setAttribute('data-tab-active', other == pane));
					menu.querySelectorAll('li').forEach((li) => { li.className = li.getAttribute('data-tab') == tab ? 'cbi-tab' : 'cbi-tab-disabled' });
				} }, [ pane.getAttribute('data-tab-title') ])
			]));
		});

		panes[0].parentNode.insertBefore(menu, panes[0]);
	}
};

let overlay;

return baseclass.extend({
	AbstractElement, Textfield, Checkbox, Select, Hiddenfield, DynamicList, tabs,

	createHandlerFn(context, fn, ...args) {
		if (typeof fn == 'string')
			fn = context[fn];

		if (typeof fn != 'function')
			return null;

		return (ev) => {
			const button = ev.currentTarget;

			ev.preventDefault();
			button.classList.add('spinning');
			button.disabled = true;
			button.blur();

			Promise.resolve(fn.call(context, ...args, ev)).catch(() => {}).finally(() => {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	},

	addValidator(field, type, optional, vfunc, ...events) {
		const validator = validation.create(field, type, optional, vfunc);

		events.forEach((name) => field.addEventListener(name, () => validator.validate()));
		validator.validate();
	},

	/* The title of a dialogue is HTML, as there. */
	showModal(title, children, ...classes) {
		overlay ||= document.body.appendChild(E('div', { 'id': 'modal_overlay' }, [ E('div', { 'class': 'modal' }) ]));

		const dialogue = overlay.firstElementChild;

		dialogue.className = [ 'modal', ...classes ].join(' ');
		dom.content(dialogue, E('h4', {}, title));
		dom.append(dialogue, children);
		document.body.classList.add('modal-overlay-active');

		return dialogue;
	},

	hideModal() {
		document.body.classList.remove('modal-overlay-active');
	},

	addNotification(title, children, ...classes) {
		const message = E('div', { 'class': 'alert-message fade-in' }, [ E('div', {}) ]);

		if (title != null)
			dom.append(message.firstElementChild, E('h4', {}, title));

		dom.append(message.firstElementChild, children);
		message.classList.add(...classes);
		document.getElementById('maincontent').prepend(message);

		return message;
	},

	changes: {
		async apply(checked) {
			await fetch(L.url('admin/uci', checked ? 'apply_rollback' : 'apply_unchecked'), {
				method: 'POST', body: JSON.stringify({ sid: L.env.sessionid })
			});
			document.body.setAttribute('data-applied', 'true');
		}
	}
});
