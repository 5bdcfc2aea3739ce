//! wgautomesh for OpenWrt routers: the runtime of [`wgautomesh`], configured by UCI, and as small as can be.

pub mod uci;
