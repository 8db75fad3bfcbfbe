//! How much of a text stands in JSON as it is. Pure.

/// Bytes that are looked at together: the compiler makes vector code of that.
const TOGETHER: usize = 32;

/// How many bytes stand before the first for which `ends` is true.
pub(super) fn plain(text: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    let (chunks, _) = text.as_chunks::<TOGETHER>();
    // No way out before the end of a chunk.
    let has_end = |chunk: &[u8; TOGETHER]| chunk.iter().fold(false, |ended, byte| ended | ends(*byte));
    let whole = TOGETHER * chunks.iter().take_while(|chunk| !has_end(chunk)).count();
    let rest = text.get(whole..).unwrap_or_default();
    whole + rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_found_where_a_look_at_each_byte_finds_it(text in "[a-c\"]{0,8}[a-z]{0,100}[a-c\"\u{e9}]{0,40}") {
            let ends = |byte: u8| byte == b'"';
            let expected = text.find('"').unwrap_or(text.len());
            prop_assert_eq!(plain(text.as_bytes(), ends), expected);
        }
    }
}
