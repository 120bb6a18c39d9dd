//! What the attribute says to code that it cannot lower, and the shape of what it writes.

use proc_macro2::TokenStream;

use super::errors;
use super::expand;

/// All error messages for a routine, given as text.
fn errors_of(attribute: &str, item: &str) -> Vec<String> {
    let attribute: TokenStream = attribute.parse().expect("attribute tokens");
    let item: TokenStream = item.parse().expect("item tokens");
    match expand(attribute, item) {
        Ok(_) => Vec::new(),
        Err(all) => all.into_iter().map(|e| e.to_string()).collect(),
    }
}

/// All error messages for a body.
fn body(text: &str) -> Vec<String> {
    errors_of(
        "",
        &format!("fn f(cx: &mut Machine, a: u64) -> u64 {{ {text} }}"),
    )
}

fn lowered(item: &str) -> String {
    let item: TokenStream = item.parse().expect("item tokens");
    expand(TokenStream::new(), item)
        .expect("no errors")
        .to_string()
}

const NONE: [String; 0] = [];

#[test]
fn suspensions_inside_expressions_are_refused() {
    for text in [
        "let x: u64 = 1 + call!(a); x",
        "foo(call!(a)); 0",
        "a += call!(a); 0",
        "let x: u64 = call!(a)?; x",
        "let f = || { call!(a); }; 0",
        "call!(a, call!(a)); 0",
        "a[call!(a)] = 1; 0",
        "format!(\"{}\", call!(a)); 0",
        "assert!(matches!(x, Some(_) if call!(a))); 0",
        "return 1 + call!(a);",
    ] {
        assert_eq!(body(text), [errors::INSIDE_EXPRESSION], "{text}");
    }
}

#[test]
fn suspensions_in_conditions_are_refused() {
    for text in [
        "if call!(a) { return 1 } 0",
        "while call!(a) { cx.tick(); } 0",
        "match call!(a) { _ => 0 }",
        "match a { 1 if call!(a) => 1, _ => 0 }",
        "if let Some(x) = wait!(a) { return 1 } 0",
    ] {
        assert_eq!(body(text), [errors::INSIDE_CONDITION], "{text}");
    }
}

#[test]
fn a_for_loop_with_a_suspension_is_refused() {
    assert_eq!(body("for i in 0..3 { call!(a); } 0"), [errors::INSIDE_FOR]);
    assert_eq!(
        body("if a > 1 { loop { for i in 0..3 { if i > 1 { call!(a); } } } } 0"),
        [errors::INSIDE_FOR]
    );
    assert_eq!(body("for i in 0..3 { cx.tick(); } 0"), NONE);
    assert_eq!(body("unsafe { call!(a); } 0"), [errors::INSIDE_UNSAFE]);
}

#[test]
fn the_result_needs_one_name_and_a_type() {
    assert_eq!(body("let x = call!(a); x"), [errors::RESULT_WITHOUT_TYPE]);
    assert_eq!(
        body("let x = if a > 1 { call!(a) } else { 0 }; x"),
        [errors::RESULT_WITHOUT_TYPE]
    );
    assert_eq!(
        body("let (x, y) = call!(a); x"),
        [errors::RESULT_IN_PATTERN]
    );
    assert_eq!(
        body("let Some(x) = call!(a) else { return 0 }; x"),
        [errors::RESULT_IN_PATTERN]
    );
    assert_eq!(body("let _ = call!(a); let _: u64 = call!(a); 0"), NONE);
    assert_eq!(body("let x: u64 = call!(a); x"), NONE);
}

#[test]
fn a_temporary_may_not_hide_a_saved_name() {
    for (text, name) in [
        ("let a = 1; call!(f); a", "a"),
        (
            "let x: u64 = 1; call!(f); if let Some(x) = g() { call!(x); } x",
            "x",
        ),
        ("while let Some(a) = g() { call!(f); } 0", "a"),
        (
            "match g() { Some((_, a)) => { call!(f); } None => {} } 0",
            "a",
        ),
        ("let Some(a) = g() else { return 1 }; call!(f); 0", "a"),
        // Declared in another scope, but the name would mean that field after the suspension.
        (
            "if a > 1 { let t: u64 = 1; call!(f); cx.use_it(t); } else { let t = 1; call!(f); } 0",
            "t",
        ),
    ] {
        assert_eq!(body(text), [errors::hides_saved(name)], "{text}");
    }
    for text in [
        // No suspension follows in the scope of the temporary.
        "call!(f); let a = 1; a",
        "call!(f); for a in 0..3 { cx.tick(a); } let f = |a| a; if let Some(a) = g() { cx.tick(a) } 0",
        "match g() { Some(a) => cx.tick(a), None => { call!(f); } } 0",
    ] {
        assert_eq!(body(text), NONE, "{text}");
    }
}

#[test]
fn saved_names_share_a_field_only_if_nothing_can_be_confused() {
    assert_eq!(
        body(
            "if a > 1 { let t: u64 = 1; call!(t); cx.tick(t); } else { let t: Gva<u8> = g(); call!(f); cx.tick(t); } 0"
        ),
        [errors::two_types("t", "u64", "Gva<u8>")]
    );
    assert_eq!(
        body("let t: u64 = 1; call!(t); if a > 1 { call!(t); let t: u64 = 2; cx.tick(t) } t"),
        NONE,
        "the inner one is not saved: no suspension follows in its scope"
    );
    assert_eq!(
        body("let t: u64 = 1; call!(t); if a > 1 { let t: u64 = 2; call!(t); } t"),
        [errors::hides_outer("t")]
    );
    assert_eq!(body("let a: u64 = a + 1; call!(a); a"), NONE);
    assert_eq!(
        body("let a: u32 = a as u32; call!(a); a as u64"),
        [errors::two_types("a", "u64", "u32")]
    );
}

#[test]
fn what_cannot_be_held_is_refused() {
    assert_eq!(body("let pc: u64 = 1; call!(a); pc"), [errors::RESERVED_PC]);
    assert_eq!(
        body("let x: &u64 = &a; call!(a); *x"),
        [errors::HELD_REFERENCE]
    );
    assert_eq!(body("let x: &'static str = \"\"; call!(a); 0"), NONE);
    assert_eq!(
        body("call!(a); let x: &u64 = &a; *x"),
        NONE,
        "no suspension follows"
    );
    assert_eq!(
        errors_of("", "fn f(cx: &mut Machine, s: &[u8]) {}"),
        [errors::HELD_REFERENCE]
    );
}

#[test]
fn suspensions_know_their_arguments() {
    for (text, name, wanted) in [
        ("call!(); 0", "call", "an address, then the arguments"),
        ("host!(a, a); 0", "host", "one continuation"),
        ("wait!(); 0", "wait", "one argument: what to wait for"),
        ("spin!(a, 1); 0", "spin", "one argument: what to wait for"),
        ("park!(a); 0", "park", "a key and the value for the caller"),
        ("raise!(); 0", "raise", "one exception"),
        (
            "bugcheck!(1, 2, 3, 4, 5, 6); 0",
            "bugcheck",
            "a code and up to four parameters",
        ),
    ] {
        assert_eq!(body(text), [errors::arguments(name, wanted)], "{text}");
    }
}

#[test]
fn jumps_never_meet_the_loop_of_the_lowering() {
    for text in [
        "continue; 0",
        "if a > 1 { break } 0",
        "loop { call!(a); break; } break; 0",
    ] {
        assert_eq!(body(text), [errors::OUTSIDE_LOOP], "{text}");
    }
    for text in [
        "foo!(a => continue); 0",
        "loop { foo!(if a { break }, => 1); call!(a); } 0",
        "foo!(a => b?); 0",
    ] {
        assert_eq!(body(text), [errors::MACRO_LEAVES], "{text}");
    }
    assert_eq!(
        body("loop { foo!(b?, continue); call!(a); break } foo!(a => b); vec![b?; 4]; 0"),
        NONE
    );
}

#[test]
fn attributes_of_lowered_statements_are_not_lost() {
    for text in [
        "#[cfg(test)] call!(a); 0",
        "#[cfg(test)] let x: u64 = call!(a); 0",
        "#[cfg(test)] if a > 1 { call!(a); } 0",
        "#[cfg(test)] let x: u64 = 1; call!(x); 0",
    ] {
        assert_eq!(body(text), [errors::CONDITIONAL], "{text}");
    }
    assert_eq!(
        body("#[cfg(test)] foo(); #[cfg(test)] let x = 1; call!(a); 0"),
        NONE
    );
}

#[test]
fn an_else_block_has_to_leave() {
    assert_eq!(
        body("let Some(x) = g() else { call!(a); }; x"),
        [errors::ELSE_FALLS_THROUGH]
    );
    for leaving in [
        "return 1",
        "continue",
        "break 'outer;",
        "raise!(a)",
        "bugcheck!(1)",
    ] {
        let text =
            format!("'outer: loop {{ let Some(x) = g() else {{ call!(a); {leaving} }}; }} 0");
        assert_eq!(body(&text), NONE, "{text}");
    }
}

#[test]
fn signatures_are_checked() {
    for text in [
        "fn f() {}",
        "fn f(cx: &Machine) {}",
        "fn f(a: u64) {}",
        "fn f((a, b): &mut Machine) {}",
    ] {
        assert_eq!(errors_of("", text), [errors::NO_MACHINE], "{text}");
    }
    for text in [
        "async fn f(cx: &mut Machine) {}",
        "fn f<T>(cx: &mut Machine, t: T) {}",
        "unsafe fn f(cx: &mut Machine) {}",
        "extern \"C\" fn f(cx: &mut Machine) {}",
    ] {
        assert_eq!(errors_of("", text), [errors::PLAIN_FUNCTION], "{text}");
    }
    assert_eq!(
        errors_of("", "fn f(cx: &mut Machine, (a, b): (u8, u8)) {}"),
        [errors::PLAIN_PARAMETER]
    );
    assert_eq!(
        errors_of("fn resume(&self) {}", "fn f(cx: &mut Machine) {}"),
        [errors::ATTRIBUTE_ITEMS]
    );
    assert!(
        errors_of("holds", "fn f(cx: &mut Machine) {}")
            .concat()
            .starts_with(errors::ATTRIBUTE_ITEMS)
    );
}

#[test]
fn all_errors_of_a_routine_are_reported_at_once() {
    assert_eq!(
        body("let x = call!(a); for i in 0..2 { wait!(a); } foo(call!(a)); 0"),
        [
            errors::RESULT_WITHOUT_TYPE,
            errors::INSIDE_FOR,
            errors::INSIDE_EXPRESSION
        ]
    );
}

#[test]
fn only_what_outlives_a_suspension_is_saved() {
    let text = lowered(
        "pub fn two_words(cx: &mut Machine, a: u64) {
            let kept: u32 = 1;
            let result: u64 = call!(a, kept);
            let plain: u64 = result + 1;
            cx.tick(plain, kept);
        }",
    );
    assert!(
        text.contains("pub struct TwoWords { pc : u16 , a : u64 , kept : u32 , }"),
        "{text}"
    );
    assert!(text.contains("pub fn two_words (a : u64) -> :: ring3_nt :: flow :: Kont"));
}

#[test]
fn a_suspension_in_a_nested_routine_is_not_ours() {
    let text = lowered(
        "fn f(cx: &mut Machine) { #[resumable] fn g(cx: &mut Machine) { call!(F); } host!(g()); }",
    );
    assert!(text.contains("call ! (F)"));
}
