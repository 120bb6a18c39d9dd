//! Source text out of tokens: types as people write them, and suspensions for the stack of a thread.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;

/// The text of a macro call, on one line. Taken from the source where the compiler has it.
pub fn of_macro(mac: &syn::Macro) -> String {
    let arguments = mac
        .delimiter
        .span()
        .join()
        .source_text()
        .filter(|text| !text.contains("//") && !text.contains("/*"))
        .map(|text| one_line(&text))
        .unwrap_or_else(|| format!("({})", tidy(mac.tokens.clone(), Angles::Compare)));
    format!(
        "{}!{arguments}",
        tidy(mac.path.to_token_stream(), Angles::Generic)
    )
}

/// The text of a type: `Gva<KEVENT>`, `&mut [u8; 4]`.
pub fn of_type(ty: &syn::Type) -> String {
    tidy(ty.to_token_stream(), Angles::Generic)
}

/// The line of a span in its file, counted from 1; 0 where there is no file (unit tests).
pub fn line_of(span: Span) -> u32 {
    if proc_macro::is_available() {
        u32::try_from(span.unwrap().start().line()).unwrap_or(0)
    } else {
        0
    }
}

/// One line out of several: white space becomes one space, and none stays next to brackets and dots.
fn one_line(text: &str) -> String {
    if !text.contains('\n') {
        return text.to_string();
    }
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined
        .replace("( ", "(")
        .replace(" )", ")")
        .replace(",)", ")")
        .replace(" .", ".")
}

/// How `<` and `>` read in the text at hand.
#[derive(Clone, Copy, PartialEq)]
enum Angles {
    Generic,
    Compare,
}

/// What the last printed token was, as far as the next one cares.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Start,
    Word,
    Value,
    Operator,
    Prefix,
    Glue,
    Comma,
}

/// Prints tokens with the spaces a person would write.
fn tidy(tokens: TokenStream, angles: Angles) -> String {
    let mut out = String::new();
    let mut last = Last::Start;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let inner = tidy(group.stream(), angles);
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => (" { ", " }"),
                    Delimiter::None => ("", ""),
                };
                if matches!(last, Last::Word | Last::Comma | Last::Operator) {
                    out.push(' ');
                }
                out.push_str(open);
                out.push_str(match angles {
                    Angles::Compare => inner.trim_end_matches(','),
                    Angles::Generic => &inner,
                });
                out.push_str(close);
                last = Last::Value;
            }
            TokenTree::Punct(first) => {
                let mut text = String::from(first.as_char());
                let mut spacing = first.spacing();
                while spacing == proc_macro2::Spacing::Joint && first.as_char() != '\'' {
                    let Some(TokenTree::Punct(next)) = tokens.peek() else {
                        break;
                    };
                    let longer = format!("{text}{}", next.as_char());
                    if !OPERATORS.contains(&longer.as_str()) {
                        break;
                    }
                    text = longer;
                    spacing = next.spacing();
                    tokens.next();
                }
                last = punctuation(&mut out, &text, last, angles);
            }
            word => {
                if matches!(
                    last,
                    Last::Word | Last::Value | Last::Comma | Last::Operator
                ) {
                    out.push(' ');
                }
                let text = word.to_string();
                last = if KEYWORDS.contains(&text.as_str()) {
                    Last::Word
                } else {
                    Last::Value
                };
                out.push_str(&text);
            }
        }
    }
    out
}

/// Prints one operator and says what it was.
fn punctuation(out: &mut String, text: &str, last: Last, angles: Angles) -> Last {
    match text {
        "," | ";" | ":" => {
            out.push_str(text);
            Last::Comma
        }
        "::" | "." | ".." | "..=" | "'" => {
            if matches!(last, Last::Comma | Last::Operator) {
                out.push(' ');
            }
            out.push_str(text);
            Last::Glue
        }
        "?" => {
            out.push_str(text);
            Last::Value
        }
        "!" if last == Last::Value => {
            out.push_str(text);
            Last::Glue
        }
        "<" if angles == Angles::Generic || last == Last::Glue => {
            out.push_str(text);
            Last::Glue
        }
        ">" if angles == Angles::Generic => {
            out.push_str(text);
            Last::Value
        }
        "&" | "*" | "-" | "!" | "&&" if last != Last::Value => {
            if matches!(last, Last::Word | Last::Comma | Last::Operator) {
                out.push(' ');
            }
            out.push_str(text);
            Last::Prefix
        }
        _ => {
            if last != Last::Start {
                out.push(' ');
            }
            out.push_str(text);
            Last::Operator
        }
    }
}

const OPERATORS: &[&str] = &[
    "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "..", "..=", "<<", ">>", "+=", "-=",
];

const KEYWORDS: &[&str] = &[
    "as", "mut", "const", "dyn", "impl", "if", "else", "match", "in", "return", "move", "ref",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(text: &str) -> String {
        of_type(&syn::parse_str(text).expect("type"))
    }

    #[test]
    fn types_read_as_they_were_written() {
        for text in [
            "Gva<KEVENT>",
            "Option<Gva<Irp>>",
            "[u8; 4]",
            "&'static str",
            "()",
            "*mut u8",
            "fn(u32, bool) -> u64",
            "layout::Gva<ke::KEVENT>",
            "(u8, Vec<u16>)",
            "(u8,)",
        ] {
            assert_eq!(ty(text), text);
        }
    }

    #[test]
    fn suspensions_read_as_they_were_written() {
        for text in [
            "wait!(Wait::On(Key::QueueIdle(q)))",
            "call!(l.routine, l.upper_device, irp)",
            "spin!(lock)",
            "call!(f, -1, &x, a + b, *p, !c)",
            "host!(start(cx.wdf().first(), v[i]?))",
        ] {
            let mac: syn::Macro = syn::parse_str(text).expect("macro");
            assert_eq!(of_macro(&mac), text);
        }
    }
}
