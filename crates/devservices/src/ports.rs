//! Free TCP ports on 127.0.0.1. A port that is free now may be taken by the time
//! a server binds it: callers try again, at most `PORT_TRIES_MAX` times.

use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

pub(crate) const PORT_TRIES_MAX: usize = 5;

/// The preferred port while it is free, else any.
pub(crate) fn choose(preferred: Option<u16>) -> Result<u16, Error> {
    match preferred.filter(|port| bind(*port).is_ok()) {
        Some(port) => Ok(port),
        None => bind(0).map_err(Error::system("find a free port")),
    }
}

fn bind(port: u16) -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    Ok(listener.local_addr()?.port())
}
