//! The Linux runtime of wgautomesh.
