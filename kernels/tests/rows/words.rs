//! `copy_words`: all of the words, and none beside them.

use tintype_kernels::params::CopyWordsParams;

use crate::device::on_each_device;

#[test]
fn words_are_copied_and_those_beside_them_are_not() {
    on_each_device("copy", |device| {
        for num_words in [1u32, 255, 256, 300] {
            let words: Vec<i32> = (1..=num_words as i32).collect();
            let src = device.ints(words.len(), &words);
            let len = num_words as usize + 1;
            let out = device.ints(len, &vec![-7; len]);
            let params =
                CopyWordsParams { out: out.address, src: src.address, num_words, reserved: 0 };
            device.run("copy_words", [num_words.div_ceil(256), 1], 256, &params);
            let mut expected = words;
            expected.push(-7);
            assert_eq!(device.read_ints(out, [1, len]), expected);
        }
    });
}
