//! seccomp: which calls of the system are refused. A list of what is forbidden, not of what is allowed: which calls a C library
//! makes changes with its version, and a daemon that a new one stops at night would be no gain.

use std::io;

use libc::{c_long, c_ulong, sock_filter, sock_fprog};

/// What a daemon that moves a few packets has no use for: programs, other processes, mounts, namespaces, modules, keys, and what
/// goes around the checks of files and calls.
pub(super) const DENIED: [c_long; 27] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsmount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_open_by_handle_at,
    libc::SYS_io_uring_setup,
];

/// `AUDIT_ARCH_*` of this build, `linux/audit.h`: the same number is another call on another architecture.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(all(target_arch = "arm", target_endian = "little")) {
    Some(0x4000_0028)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Calls of x86-64 with 32-bit pointers have this bit in their numbers.
const X32: u32 = 0x4000_0000;

/// `struct seccomp_data`
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Two to see to the architecture, three for the number and what it may be, two ends.
const LENGTH: usize = DENIED.len() + 6;

/// Refuses those calls from now on, and for good.
pub(super) fn restrict() -> io::Result<()> {
    let architecture = ARCHITECTURE
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "not for this architecture"))?;
    let mut filter = program(architecture);
    let program = sock_fprog { len: LENGTH as u16, filter: filter.as_mut_ptr() };
    // The kernel reads whole words, also where a C compiler would pass an `int`.
    let (none, one, mode) = (0 as c_ulong, 1 as c_ulong, c_ulong::from(libc::SECCOMP_MODE_FILTER));
    // SAFETY: the first call has no pointers. The second reads the program, which lives until it returns.
    let result = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none) {
            0 => libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, none, none),
            error => error,
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// ```text
/// 0     load the architecture
/// 1     this one? else to the last
/// 2     load the number
/// 3     of x32? to the last
/// 4…    one of those? to the last
/// n-2   allow
/// n-1   EPERM
/// ```
fn program(architecture: u32) -> [sock_filter; LENGTH] {
    // At the place `at`, how many to pass over to get to the last.
    let to_last = |at: usize| (LENGTH - 2 - at) as u8;
    let mut program = [sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }; LENGTH];
    program[0] = sock_filter { code: LOAD, jt: 0, jf: 0, k: ARCH };
    program[1] = sock_filter { code: EQUAL, jt: 0, jf: to_last(1), k: architecture };
    program[2] = sock_filter { code: LOAD, jt: 0, jf: 0, k: NUMBER };
    program[3] = sock_filter { code: AT_LEAST, jt: to_last(3), jf: 0, k: X32 };
    for (at, call) in (4..).zip(DENIED) {
        program[at] = sock_filter { code: EQUAL, jt: to_last(at), jf: 0, k: call as u32 };
    }
    program[LENGTH - 1].k = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would make of a call.
    fn verdict(architecture: u32, number: u32) -> u32 {
        let program = program(0xc000_003e);
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = match code {
                LOAD => {
                    loaded = if k == ARCH { architecture } else { number };
                    0
                }
                EQUAL => {
                    if loaded == k {
                        jt
                    } else {
                        jf
                    }
                }
                AT_LEAST => {
                    if loaded >= k {
                        jt
                    } else {
                        jf
                    }
                }
                RETURN => return k,
                other => panic!("{other}"),
            };
            at += usize::from(jump);
        }
    }

    #[test]
    fn those_calls_are_refused_and_no_other() {
        let denied = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        for number in 0..1000 {
            let expected =
                if DENIED.contains(&(number as c_long)) { denied } else { libc::SECCOMP_RET_ALLOW };
            assert_eq!(verdict(0xc000_003e, number), expected, "{number}");
            assert_eq!(verdict(0x4000_0003, number), denied, "of another architecture");
            assert_eq!(verdict(0xc000_003e, number | X32), denied, "with pointers of 32 bits");
        }
    }
}
