//! `cargo run --release -p towpath-md5 --example speed`: MB/s of one core over files of 1-10 KB, with
//! all lanes and one message at a time.

use std::hint::black_box;
use std::time::Instant;

use md5::{Digest as _, Md5};

fn main() {
    let bytes: Vec<u8> = (0..10_240u32).map(|i| ((i * 31) >> 3) as u8).collect();
    let messages: Vec<&[u8]> = (0..20_000usize).map(|i| &bytes[..1024 + i * 7919 % 9216]).collect();
    let total: usize = messages.iter().map(|message| message.len()).sum();
    let rate = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        total as f64 / 1e6 / start.elapsed().as_secs_f64()
    };
    let lanes = rate(&|| {
        black_box(towpath_md5::digest_all(&messages));
    });
    let alone = rate(&|| {
        for message in &messages {
            black_box(Md5::digest(message));
        }
    });
    println!("all lanes {lanes:.0} MB/s, alone {alone:.0} MB/s");
}
