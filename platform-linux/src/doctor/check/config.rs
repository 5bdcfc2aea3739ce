//! The configuration itself: what `wgautomesh check` says of it.

use super::super::{
    facts::Configured,
    finding::{Findings, Severity},
};
use crate::config;

pub(super) fn check(config: &Configured, out: &mut Findings) {
    const ID: &str = "config";
    let file = &config.file;
    for (place, finding) in &config.said {
        let severity = match finding.severity {
            config::Severity::Error => Severity::Error,
            config::Severity::Warning => Severity::Warning,
            config::Severity::Note => Severity::Note,
        };
        let key = if finding.key.is_empty() { String::new() } else { format!("{}: ", finding.key) };
        out.add(severity, ID, format!("{place}: {key}{}", finding.fault.what), finding.fault.fix.clone());
    }
    if let Some(unseen) = &config.unseen {
        out.skipped(ID, file, unseen);
    } else if !config.said.iter().any(|(_, finding)| finding.severity <= config::Severity::Warning) {
        out.ok(ID, format!("{file} is right"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::only;
    use super::*;
    use crate::config::{Fault, Finding};
    use crate::doctor::{facts::Unseen, made_up};

    fn of(config: &Configured) -> Vec<crate::doctor::Finding> {
        let mut out = Findings::default();
        check(config, &mut out);
        out.sorted()
    }

    #[test]
    fn what_check_says_is_said_with_its_place() {
        let mut config = made_up::good().config;
        config.said = vec![(
            "mesh.toml:3:1".into(),
            Finding {
                severity: config::Severity::Error,
                at: None,
                key: "gossip_port".into(),
                fault: Fault::new("is 0, which is not a port", "give a number"),
            },
        )];
        let found = only(&of(&config), Severity::Error, "config");
        assert_eq!(found.what, "mesh.toml:3:1: gossip_port: is 0, which is not a port");
        assert_eq!(found.fix, "give a number");
        // A warning leaves no room for praise, a note does.
        config.said[0].1.severity = config::Severity::Warning;
        assert_eq!(of(&config).len(), 1);
        config.said[0].1.severity = config::Severity::Note;
        assert_eq!(of(&config).len(), 2);
    }

    #[test]
    fn one_that_may_not_be_read_is_not_judged() {
        let mut config = made_up::good().config;
        config.unseen = Some(Unseen::new("permission denied", "run it as root"));
        only(&of(&config), Severity::Skipped, "config");
    }
}
