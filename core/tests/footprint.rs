//! What an engine costs: its size for several capacities, and that one in a `static` costs memory only, not space in the
//! program's file.

use wgautomesh_core::Mesh;

/// Printed for whoever plans a capacity; the budget itself is held where it matters, on a microcontroller
/// (`examples/firmware`).
#[test]
fn sizes() {
    let sizes = [(8, size_of::<Mesh<8>>()), (64, size_of::<Mesh<64>>()), (256, size_of::<Mesh<256>>())];
    for (peers, size) in sizes {
        println!("Mesh<{peers}>: {size} bytes, {} a peer", size / peers);
    }
    let per_peer = (sizes[2].1 - sizes[1].1) / 192;
    println!("each further peer: {per_peer} bytes");
    assert!(per_peer <= 640, "{per_peer} bytes a peer");
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
mod in_a_static {
    use std::sync::Mutex;

    use wgautomesh_core::Mesh;

    const PEERS: usize = 1024;
    static MESH: Mutex<Mesh<PEERS>> = Mutex::new(Mesh::new());

    fn number<const N: usize>(file: &[u8], at: usize) -> usize {
        let bytes: [u8; N] = file[at..at + N].try_into().expect("as many as asked for");
        bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// Name and size of every section of a 64-bit ELF file (its header, and the section headers it points to).
    fn sections(file: &[u8]) -> Vec<(String, usize)> {
        assert_eq!(file[..6], *b"\x7fELF\x02\x01", "a 64-bit little-endian ELF file");
        let (table, entry) = (number::<8>(file, 0x28), number::<2>(file, 0x3a));
        let (count, names) = (number::<2>(file, 0x3c), number::<2>(file, 0x3e));
        let header = |section: usize| table + section * entry;
        let names = number::<8>(file, header(names) + 0x18);
        let sections = (0..count).map(header).map(|at| {
            let name = &file[names + number::<4>(file, at)..];
            let end = name.iter().position(|byte| *byte == 0).expect("a name has an end");
            (String::from_utf8_lossy(&name[..end]).into_owned(), number::<8>(file, at + 0x20))
        });
        sections.collect()
    }

    #[test]
    fn takes_no_room_in_the_file() {
        // It must be there: the linker drops what nobody uses.
        assert_eq!(MESH.lock().expect("not poisoned").poll_timeout(), None);
        let file =
            std::fs::read(std::env::current_exe().expect("we run from a file")).expect("we can read it");
        let sections = sections(&file);
        let size =
            |wanted: &str| sections.iter().find(|(name, _)| name == wanted).map_or(0, |(_, size)| *size);
        println!(".data {}, .rodata {}, .bss {} bytes", size(".data"), size(".rodata"), size(".bss"));
        assert!(size(".bss") >= size_of::<Mesh<PEERS>>(), "the engine is in .bss");
        assert!(size(".data") < size_of::<Mesh<PEERS>>() / 8, "and not in .data");
    }
}
