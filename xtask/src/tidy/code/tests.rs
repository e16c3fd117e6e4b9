//! The grammar that the rules rest on, by example.

use super::*;

fn blanked(text: &str) -> String {
    let code = without_comments_and_literals(text);
    assert_eq!(code.lines().count(), text.lines().count(), "line numbers must agree");
    code.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn comments_are_not_code() {
    assert_eq!(blanked("a // b \"c\nd"), "a d");
    assert_eq!(blanked("a /* b /* c\n */ d */ e"), "a e");
    assert_eq!(blanked("a /**/ b / c * d"), "a b / c * d");
    assert_eq!(blanked("a /* never closed"), "a");
}

#[test]
fn literals_are_not_code() {
    assert_eq!(blanked(r#"a("b \" c", d)"#), "a( , d)");
    assert_eq!(blanked("a(r#\"b \" c\"#, br\"\\\", r#type)"), "a( , , r#type)");
    assert_eq!(blanked("a(\"b\nc\")"), "a( )");
    assert_eq!(blanked("a(\"never closed"), "a(");
}

#[test]
fn a_lifetime_is_not_a_character() {
    assert_eq!(blanked(r"f::<'a>('}', '\'', '\u{7d}', b'{')"), "f::<'a>( , , , b )");
    assert_eq!(blanked("'outer: loop { 'é' }"), "'outer: loop { }");
}

#[test]
fn words_end_where_they_end() {
    assert_eq!(occurrences("unsafe { not_unsafe; unsafe_code }", "unsafe").count(), 1);
    assert_eq!(occurrences("env::var(a); env::var_os(b); my_env::var(c)", "env::var").count(), 2);
    assert_eq!(occurrences("#[ignore] #[ignore = ]", "#[ignore").count(), 2);
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let code = "trait T {\n    fn a(x: [u8; 2]);\n    fn b<F: Fn()>(f: fn(u8))\n    {\n        \
                if x { y }\n    }\n}\nmacro! { fn $name() {} }\n";
    let found: Vec<_> = functions(code).collect();
    assert_eq!(found, [Function { name: "b", line: 3, len: 4 }]);
}

#[test]
fn a_file_cut_short_has_no_function() {
    assert_eq!(functions("fn a() { if b {").count(), 0);
    assert_eq!(functions("fn a)").count(), 0);
}
