//! The wire contracts of Pilothouse, generated from the `.proto` files beside this crate.

pub mod console;
pub mod greet;
pub mod half;
pub mod link;
pub mod selftest;

/// Contract between consoles and a host: sessions, environments, the host itself.
pub mod hostd {
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("hostd.v1");
    }
}

/// Contract between a host and the guest in a session's microVM: the link and the tunnel.
pub mod guest {
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("guest.v1");
    }
}

/// Encoded `FileDescriptorSet` of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
