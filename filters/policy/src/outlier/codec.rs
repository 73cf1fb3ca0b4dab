//! The encoding of a cluster for the key-value store that workers share. Numbers are little-endian,
//! times are in nanoseconds. Optional fields of a host are encoded only if they are present.

use std::time::Duration;

use super::cluster::{Cluster, Ejection, Host, MAX_HOSTS};
use super::rates::{Rate, Rates};

/// The version of the encoding. Values with another version are rejected.
const VERSION: u8 = 2;

const HAS_EJECTION: u8 = 1;
const HAS_PROBE: u8 = 1 << 1;
const HAS_RETURNED: u8 = 1 << 2;
const HAS_RATES: u8 = 1 << 3;

impl Cluster {
    /// Encodes the cluster.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.hosts.len() * 64);
        out.push(VERSION);
        put_time(&mut out, self.last_tick);
        out.push(u8::from(self.tried.is_some()));
        put_time(&mut out, self.tried.unwrap_or_default());
        for host in &self.hosts {
            host.encode(&mut out);
        }
        out
    }

    /// Decodes a cluster. `None` if `bytes` is not a valid encoding.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [VERSION] = reader.take()? else { return None };
        let last_tick = reader.time()?;
        let [has_tried] = reader.take()?;
        let tried = reader.time()?;
        let mut hosts: Vec<Host> = Vec::new();
        while !reader.0.is_empty() {
            let host = Host::decode(&mut reader)?;
            let is_next = hosts.last().is_none_or(|last| last.address < host.address);
            if !is_next || hosts.len() >= MAX_HOSTS {
                return None;
            }
            hosts.push(host);
        }
        Some(Self { hosts, last_tick, tried: (has_tried != 0).then_some(tried) })
    }
}

impl Host {
    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let probe = self.ejection.and_then(|ejection| ejection.probe);
        let has_rates = self.rates != Rates::default();
        out.push(
            flag(self.ejection.is_some(), HAS_EJECTION)
                | flag(probe.is_some(), HAS_PROBE)
                | flag(self.returned.is_some(), HAS_RETURNED)
                | flag(has_rates, HAS_RATES),
        );
        let length = u8::try_from(self.address.len()).unwrap_or(u8::MAX);
        out.push(length);
        out.extend(self.address.iter().take(usize::from(length)));
        put_time(out, self.seen);
        put(out, self.ejections);
        put(out, self.multiplier);
        if let Some(ejection) = self.ejection {
            put_time(out, ejection.at);
            put_time(out, ejection.jitter);
            put(out, ejection.successes);
        }
        [probe, self.returned].into_iter().flatten().for_each(|time| put_time(out, time));
        if has_rates {
            for rate in [self.rates.external, self.rates.local] {
                put(out, rate.requests);
                put(out, rate.successes);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let [flags, length] = reader.take()?;
        let has = |flag: u8| flags & flag != 0;
        let (address, rest) = reader.0.split_at_checked(usize::from(length))?;
        reader.0 = rest;
        let mut host = Self {
            address: address.into(),
            seen: reader.time()?,
            ejections: reader.number()?,
            multiplier: reader.number()?,
            ejection: None,
            returned: None,
            rates: Rates::default(),
        };
        if has(HAS_EJECTION) {
            host.ejection = Some(Ejection {
                at: reader.time()?,
                jitter: reader.time()?,
                successes: reader.number()?,
                probe: None,
            });
        }
        if has(HAS_PROBE) {
            host.ejection.as_mut()?.probe = Some(reader.time()?);
        }
        if has(HAS_RETURNED) {
            host.returned = Some(reader.time()?);
        }
        if has(HAS_RATES) {
            host.rates = Rates { external: reader.rate()?, local: reader.rate()? };
        }
        Some(host)
    }
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Writes a time in nanoseconds. 64 bits are enough for 584 years.
fn put_time(out: &mut Vec<u8>, time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    out.extend_from_slice(&nanoseconds.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn time(&mut self) -> Option<Duration> {
        self.take().map(u64::from_le_bytes).map(Duration::from_nanos)
    }

    fn rate(&mut self) -> Option<Rate> {
        Some(Rate { requests: self.number()?, successes: self.number()? })
    }
}

#[cfg(test)]
mod tests;
