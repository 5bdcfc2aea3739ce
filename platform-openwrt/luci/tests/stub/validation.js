'use strict';
'require baseclass';

/* The data types that the views use, with LuCI's meaning. Each takes the value and its arguments, and says what is expected if not. */
const ipv4 = (text) => /^\d{1,3}(\.\d{1,3}){3}$/.test(text) && text.split('.').every((part) => +part <= 255);

const ipv6 = (text) => {
	if (!/^[0-9a-fA-F:.]+$/.test(text) || !text.includes(':'))
		return false;

	try {
		return new URL(`http://[${text}]/`).hostname.length > 0;
	}
	catch (e) {
		return false;
	}
};

const port = (text) => /^\d+$/.test(text) && +text <= 65535;

const host = (text) => ipv4(text) || (!/^[\d.]+$/.test(text) && /^[a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?\.?$/.test(text) && text.length <= 253);

const types = {
	string: () => true,
	port: (value) => port(value) || 'valid port value',
	uinteger: (value) => /^\d+$/.test(value) || 'positive integer value',
	max: (value, most) => +value <= +most || `value smaller or equal to ${most}`,
	min: (value, least) => +value >= +least || `value greater or equal to ${least}`,
	uciname: (value) => /^[a-zA-Z0-9_]+$/.test(value) || 'valid UCI identifier',
	ipaddr: (value, nomask) => {
		const [ address, mask ] = value.split('/');

		if (mask != null && nomask)
			return 'valid IP address';

		return ipv4(address) || ipv6(address) || 'valid IP address';
	},
	hostport: (value) => {
		const parts = value.split(':');

		return (parts.length == 2 && host(parts[0]) && port(parts[1])) || 'valid host:port';
	},
	ipaddrport: (value, bracket) => {
		const v4 = /^([^:]+):(\d+)$/.exec(value);
		const v6 = (bracket == 1 ? /^\[(.+)\]:(\d+)$/ : /^([^[\]]+):(\d+)$/).exec(value);

		return (v4 && ipv4(v4[1]) && port(v4[2])) || (v6 && ipv6(v6[1]) && port(v6[2])) || 'valid address:port';
	},
	and: (value, ...inner) => inner.map((type) => check(type, value)).find((result) => result !== true) || true,
	or: (value, ...inner) => {
		const results = inner.map((type) => check(type, value));

		return results.includes(true) || `One of the following: ${results.join(', ')}`;
	}
};

/* "and(port,min(1))" as [ 'and', [ 'port' ], [ 'min', '1' ] ]. */
function compile(code) {
	let at = 0;

	const term = () => {
		const [ word ] = /^("[^"]*"|[^(),]*)/.exec(code.substring(at));
		const node = [ word ];

		at += word.length;

		if (code[at] == '(') {
			do {
				at++;
				node.push(term());
			} while (code[at] == ',');

			if (code[at++] != ')')
				throw new SyntaxError(`unbalanced: ${code}`);
		}

		return node;
	};

	return term();
}

function check([ name, ...args ], value) {
	if (!types[name])
		throw new Error(`the data type ${name} is not in this stand-in`);

	return types[name](value, ...(name == 'and' || name == 'or' ? args : args.map(([ text ]) => text.replace(/"/g, ''))));
}

class Validator {
	constructor(field, type, optional, vfunc) {
		Object.assign(this, { field, type: compile(type || 'string'), optional, vfunc });
	}

	validate() {
		/* What is in no document and in no option yet is not judged. */
		if (!this.field.closest('body') && !this.field.closest('[data-field]'))
			return true;

		const value = this.field.value ?? '';

		this.error = null;

		let result = value.length == 0 ? (this.optional || 'non-empty value') : check(this.type, value);

		if (result !== true)
			result = _('Expecting: %s').format(result);
		else if (this.vfunc)
			result = this.vfunc(value);

		if (result !== true)
			this.error = result;

		this.field.classList.toggle('cbi-input-invalid', this.error != null);

		if (this.error != null)
			this.field.setAttribute('data-tooltip', this.error);
		else
			this.field.removeAttribute('data-tooltip');

		return this.error == null;
	}
}

return baseclass.extend({
	create: (field, type, optional, vfunc) => new Validator(field, type, optional, vfunc)
});
