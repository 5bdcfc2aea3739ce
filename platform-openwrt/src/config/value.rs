//! From the words of an option to its value.

use crate::uci::{self, Setting};
use core::num::NonZeroU16;
use wgautomesh::config::{Fault, Field, InterfacePattern, Located, PORT_FIX, Report, port_of, quoted};

/// Reads an option. `key` is what a finding calls it.
pub(super) struct Reader<'s, 't, 'r> {
    pub(super) setting: &'s Setting<'t>,
    pub(super) report: &'r mut Report,
}

impl Reader<'_, '_, '_> {
    /// An option with one value.
    pub(super) fn one<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Fault>) -> Field<T> {
        let Some(Located { value, at }) = self.setting.single() else {
            let what = format!("is a list of {}, and there can be one only", self.setting.values.len());
            let fix = format!("write option {} {}", &*self.setting.name, uci::quoted("..."));
            let fault = Fault::new(what, fix);
            return Field::read(key, self.setting.at, Err(fault), self.report);
        };
        Field::read(key, *at, parse(value), self.report)
    }

    /// All values of a list, or of an option with spaces. `None` where one of them is wrong.
    pub(super) fn all<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<Vec<Located<T>>> {
        let mut all = Vec::with_capacity(self.setting.values.len());
        let mut refused = false;
        for Located { value: text, at } in &self.setting.values {
            let mut read = |text: &str| match Field::read(key, *at, parse(text), self.report) {
                Field::Given(value) => all.push(value),
                _ => refused = true,
            };
            if self.setting.list { read(text) } else { text.split_ascii_whitespace().for_each(read) }
        }
        (!refused).then_some(all)
    }

    pub(super) fn patterns(&mut self, key: &str) -> Field<Vec<InterfacePattern>> {
        match self.all(key, InterfacePattern::parse) {
            Some(all) => {
                let value = all.into_iter().map(|pattern| pattern.value).collect();
                Field::Given(Located { value, at: self.setting.at })
            }
            None => Field::Refused,
        }
    }

    pub(super) fn switch(&mut self, key: &str) -> Field<bool> {
        self.one(key, switch)
    }
}

/// As OpenWrt's `config_get_bool` has it.
pub(super) fn switch(text: &str) -> Result<bool, Fault> {
    match text {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        other => Err(Fault::new(format!("is {}, neither on nor off", quoted(other)), "write '1' or '0'")),
    }
}

pub(super) fn port(text: &str) -> Result<NonZeroU16, Fault> {
    match text.parse::<i128>() {
        Ok(number) => port_of(number),
        Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(Fault::new("is far outside of the range of a UDP port", PORT_FIX))
        }
        Err(_) => Err(Fault::new(format!("is {}, not a whole number", quoted(text)), PORT_FIX)),
    }
}
