//! Text that is refused, and why.

use ptx_interp::Module;

const HEAD: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n";

/// The error of a module of which the header takes three lines.
fn error(text: &str) -> (u32, String) {
    let error = Module::parse(&format!("{HEAD}{text}")).unwrap_err();
    (error.line, error.message)
}

/// The error of a kernel whose first instruction is in line 5.
fn kernel_error(body: &str) -> String {
    let declarations = ".reg .pred %p<2>; .reg .b16 %h<2>; .reg .b32 %r<4>; .reg .b64 %rd<4>;";
    let (line, message) = error(&format!(".entry k() {{ {declarations}\n{body}\n}}"));
    assert_eq!(line, 5, "{message}");
    message
}

#[test]
fn nothing_is_skipped() {
    assert_eq!(kernel_error("frobnicate.b32 %r1, %r2;"), "frobnicate: unknown instruction");
    assert_eq!(kernel_error("add.cc.s32 %r1, %r2, %r3;"), "add: unknown modifier .cc");
    assert_eq!(kernel_error("ld.global.odd.u32 %r1, [%rd1];"), "ld: unknown modifier .odd");
    assert_eq!(kernel_error(".maxreg 3;"), "unknown directive .maxreg in a kernel");
    assert!(kernel_error("add.u128 %r1, %r2, %r3;").contains("names no known type"));
    assert_eq!(error(".unknown 3"), (4, "unknown directive .unknown".to_owned()));
    assert!(error("\n.func f() { ret; }").1.contains("device functions"));
    assert!(error(".entry k() .odd { ret; }").1.contains("unknown directive .odd of a kernel"));
}

#[test]
fn operands_must_fit() {
    assert!(kernel_error("add.u32 %r1, %r2;").contains("2 operands, expected 3"));
    assert!(kernel_error("add.u32 %r1, %rd1, %r2;").contains("64 bits, expected 32"));
    assert!(kernel_error("add.u16 %h1, %h1, %r2;").contains("32 bits, expected 16"));
    assert!(kernel_error("mov.u32 %r4, 1;").contains("%r4 is no register"));
    assert!(kernel_error("mov.u32 %r1, %unknown;").contains("unknown name %unknown"));
    assert!(kernel_error("@%r1 ret;").contains("%r1 is no predicate"));
    assert!(kernel_error("ld.global.v4.b64 {%rd1}, [%rd1];").contains("the most are 16"));
    assert!(kernel_error("ld.global.v2.b32 %r1, [%rd1];").contains("1 registers for 2"));
    assert!(kernel_error("ld.global.b64 %r1, [%rd1];").contains("32 bits for 64"));
    assert!(kernel_error("bra nowhere;").contains("unknown label nowhere"));
    assert!(kernel_error("shfl.bfly.b32 %r1, %r2, 1, 31;").contains("expected .sync"));
}

#[test]
fn text_must_be_whole() {
    assert!(error(".entry k() {").1.contains("found the end of the text"));
    assert!(error("/* open").1.contains("without its end"));
    assert!(error(".global .u32 x = \u{7};").1.contains("unexpected byte"));
    assert!(error(".global .u32 x = 0x;").1.contains("0x"));
    assert!(error(".global .u64 x = y;").1.contains("unknown variable y"));
    assert!(Module::parse("").unwrap_err().message.contains("no .version"));
    let bits32 = ".version 9.0\n.target sm_90a\n.address_size 32\n";
    assert!(Module::parse(bits32).unwrap_err().message.contains("expected 64"));
}

#[test]
fn sizes_have_limits() {
    let braces = format!(".global .u32 x = {};", "{".repeat(100_000));
    assert!(error(&braces).1.contains("more than 16 dimensions"));
    let vector = format!("mov.b32 %r1, {};", "{".repeat(100_000));
    assert!(kernel_error(&vector).contains("expected an element of a vector"));
    assert!(kernel_error(".local .b8 stack[600000];").contains("does not fit"));
    assert!(kernel_error(".shared .align 4 .b8 tile[4294967295];").contains("does not fit"));
    assert!(error(".entry k(.param .b8 p[4294967295]) { ret; }").1.contains("more than 32764"));
    assert!(error(".global .b8 x[99999999][99999999];").1.contains("too large to exist"));
    // Nothing is allocated before it is known to fit.
    Module::parse(&format!("{HEAD}.global .b8 x[99999999999];")).unwrap_err();
    Module::parse(&format!("{HEAD}.global .b8 x[999999][999];")).unwrap();
}

#[test]
fn labels_and_registers_have_scopes() {
    let block = "{ .reg .b32 %x; mov.u32 %x, 1; bra WAIT; WAIT: }";
    let text = format!("{HEAD}.entry k() {{ {block} {block} ret; }}");
    Module::parse(&text).unwrap();
    let twice = format!("{HEAD}.entry k() {{ L: L: ret; }}");
    assert!(Module::parse(&twice).unwrap_err().message.contains("defined twice"));
}

/// Parsing cut or garbled text ends in an error or a module, never in a panic.
#[test]
fn broken_text_never_panics() {
    let text = include_str!("../ptx/samples.ptx");
    for end in (0..text.len()).step_by(499) {
        let _ = Module::parse(&text[..end]);
    }
    for at in (0..text.len()).step_by(1201) {
        for garbage in ["", "{", "%", "0", ";", "9999999999999999999999"] {
            let _ = Module::parse(&format!("{}{garbage}{}", &text[..at], &text[at + 1..]));
        }
    }
}
