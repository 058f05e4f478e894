//! The compression function over `N` messages: every variable of RFC 1321 is a vector of `N` words,
//! and every loop over lanes becomes vector instructions.

pub(crate) const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// `floor(2^32 * abs(sin(i + 1)))`.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// One block of each message; `words[w][lane]` is word `w` of a lane's block.
#[inline(always)]
pub(crate) fn compress<const N: usize>(state: &mut [[u32; N]; 4], words: &[[u32; N]; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    let mut step = |i: usize, mix: fn(u32, u32, u32) -> u32, word: usize, shift: u32| {
        let mut next = [0; N];
        for lane in 0..N {
            let sum = a[lane]
                .wrapping_add(mix(b[lane], c[lane], d[lane]))
                .wrapping_add(words[word][lane])
                .wrapping_add(SINES[i]);
            next[lane] = b[lane].wrapping_add(sum.rotate_left(shift));
        }
        (a, d, c, b) = (d, c, b, next);
    };
    for i in 0..16 {
        step(i, |b, c, d| d ^ (b & (c ^ d)), i, SHIFTS[0][i % 4]);
    }
    for i in 0..16 {
        step(16 + i, |b, c, d| c ^ (d & (b ^ c)), (5 * i + 1) % 16, SHIFTS[1][i % 4]);
    }
    for i in 0..16 {
        step(32 + i, |b, c, d| b ^ c ^ d, (3 * i + 5) % 16, SHIFTS[2][i % 4]);
    }
    for i in 0..16 {
        step(48 + i, |b, c, d| c ^ (b | !d), (7 * i) % 16, SHIFTS[3][i % 4]);
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        for (total, mixed) in word.iter_mut().zip(mixed) {
            *total = total.wrapping_add(mixed);
        }
    }
}
