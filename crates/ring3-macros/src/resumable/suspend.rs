//! The suspensions themselves: what is saved, what is returned, and how the result comes back.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, Ident, Macro, Token, Type};

use super::errors;
use super::lower::{Dest, Lower, Next, Point, rax};
use super::rewrite::word;
use super::scan;
use crate::text;

impl Lower<'_> {
    /// The result of a suspension, as the first act of the block behind it.
    pub(super) fn result(&mut self, dest: &Dest, next: Next) -> TokenStream {
        let rax = rax();
        let value = quote!(::ring3_nt::flow::FromRax::from_rax(#rax));
        match dest {
            Dest::Discard => self.goto(next),
            Dest::Place(_) => self.finish(value, dest, next),
            Dest::Return => match last_name(self.ret).as_deref() {
                None => self.goto(Next::End),
                Some("Flow") => quote!(return ::ring3_nt::flow::Flow::Return(#rax);),
                Some("Result") => {
                    self.finish(quote!(::core::result::Result::Ok(#value)), dest, next)
                }
                Some(_) => self.finish(value, dest, next),
            },
        }
    }

    /// Ends a block: what is saved, what is returned, and what comes after the suspension.
    pub(super) fn suspend(
        &mut self,
        mac: &Macro,
        after: impl FnOnce(&mut Self) -> TokenStream,
    ) -> TokenStream {
        let span = mac.path.span();
        let (prepare, flow) = self.flow_of(mac);
        let block = self.reserve();
        self.pieces[block].used = true;
        self.points.push(Point {
            pc: block,
            text: text::of_macro(mac),
            line: text::line_of(span),
        });
        let save = self.fields.iter().map(|field| {
            // With the place of the suspension, for errors about values that were moved away.
            let mut name = field.name.clone();
            name.set_span(span.resolved_at(name.span()));
            let live = field.parameter || self.scopes.iter().flatten().any(|n| name == n);
            if live {
                quote!(self.#name = #name;)
            } else {
                quote!(self.#name = ::core::default::Default::default();)
            }
        });
        let number = u16::try_from(block).unwrap_or(u16::MAX);
        let code = quote!(#prepare #(#save)* self.pc = #number; return #flow;);
        let after = after(self);
        self.place(block, after);
        code
    }

    /// The arguments of a suspension, evaluated, and the `Flow` made of them.
    pub(super) fn flow_of(&mut self, mac: &Macro) -> (TokenStream, TokenStream) {
        let span = mac.path.span();
        let name = scan::suspension(mac).unwrap_or_default();
        let parsed = mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        let arguments: Vec<Expr> = match parsed {
            Ok(list) => list.into_iter().collect(),
            Err(e) => {
                self.errors.add(e);
                return (TokenStream::new(), quote!(()));
            }
        };
        let mut values = Vec::new();
        for argument in &arguments {
            self.refuse(argument, errors::INSIDE_EXPRESSION);
            values.push(self.copy_expr(argument));
        }
        let first = Ident::new("first", Span::mixed_site());
        let second = Ident::new("second", Span::mixed_site());
        let cx = self.cx;
        match (name.as_str(), values.as_slice()) {
            ("call", [address, _rest @ ..]) => {
                let words = arguments
                    .iter()
                    .zip(&values)
                    .skip(1)
                    .map(|(written, value)| word(written, value));
                (
                    quote! {
                        let #first = #address;
                        let #second = ::ring3_nt::flow::args(&[#(#words),*]);
                    },
                    quote_spanned!(span=> ::ring3_nt::flow::Flow::call(#first, #second, self)),
                )
            }
            ("host", [kont]) => (
                quote!(let #first = #kont;),
                quote_spanned!(span=> ::ring3_nt::flow::Flow::Host(#first, self)),
            ),
            ("wait", [what]) => (
                quote!(let #first = #what;),
                quote_spanned!(span=> ::ring3_nt::flow::Flow::Wait(#first, self)),
            ),
            ("spin", [what]) => (
                quote!(let #first = #what;),
                quote_spanned!(span=> ::ring3_nt::flow::Flow::Spin(#first, self)),
            ),
            ("park", [key, value]) => (
                quote!(let #first = #key; let #second = #value;),
                quote_spanned!(span=> ::ring3_nt::flow::Flow::park(#cx, #first, #second, self)),
            ),
            (name, _) => {
                let wanted = match name {
                    "call" => "an address, then the arguments",
                    "host" => "one continuation",
                    "park" => "a key and the value for the caller",
                    _ => "one argument: what to wait for",
                };
                self.errors.push(span, errors::arguments(name, wanted));
                (TokenStream::new(), quote!(()))
            }
        }
    }
}

/// The last name of a type's path; `None`: `()`.
fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Tuple(t) if t.elems.is_empty() => None,
        Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()),
        _ => Some(String::new()),
    }
}
