//! Statements without a suspension: copied, except for what leaves them.
//!
//! `return e` and `e?` become a `Flow`; `break` and `continue` of a lowered loop become jumps; `raise!` and
//! `bugcheck!` return. Closures and nested items are left alone: they return to themselves.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprLit, Ident, Label, Lifetime, Lit, Macro, Stmt, Token, UnOp};

use super::errors;
use super::lower::Lower;

/// Rewrites one node of copied code.
pub struct Rewrite<'l, 'a> {
    lower: &'l mut Lower<'a>,
    /// How many copied loops are around the node.
    loops: usize,
    /// Labels of copied loops and blocks around the node.
    labels: Vec<String>,
}

impl<'a> Lower<'a> {
    /// A copied statement.
    pub fn copy_stmt(&mut self, stmt: &Stmt) -> TokenStream {
        let mut stmt = stmt.clone();
        Rewrite::new(self).visit_stmt_mut(&mut stmt);
        stmt.into_token_stream()
    }

    /// A copied expression.
    pub fn copy_expr(&mut self, expr: &Expr) -> TokenStream {
        let mut expr = expr.clone();
        Rewrite::new(self).visit_expr_mut(&mut expr);
        expr.into_token_stream()
    }
}

impl<'l, 'a> Rewrite<'l, 'a> {
    fn new(lower: &'l mut Lower<'a>) -> Self {
        Rewrite {
            lower,
            loops: 0,
            labels: Vec::new(),
        }
    }

    fn labelled(&mut self, label: Option<&Label>, is_loop: bool, inner: impl FnOnce(&mut Self)) {
        if let Some(label) = label {
            self.labels.push(label.name.ident.to_string());
        }
        self.loops += usize::from(is_loop);
        inner(self);
        self.loops -= usize::from(is_loop);
        if label.is_some() {
            self.labels.pop();
        }
    }

    /// The lowered loop or block that a `break` or `continue` leaves; `None`: a copied one.
    fn target(&self, label: Option<&Lifetime>) -> Option<usize> {
        match label {
            Some(l) if self.labels.contains(&l.ident.to_string()) => None,
            None if self.loops > 0 => None,
            _ => self.lower.target(label),
        }
    }

    /// Refuses a jump that would leave the routine's own loop; the compiler finds unknown labels itself.
    fn in_loop(&mut self, label: Option<&Lifetime>, span: Span) {
        if label.is_none() && self.loops == 0 && self.lower.target(None).is_none() {
            self.lower.errors.push(span, errors::OUTSIDE_LOOP);
        }
    }

    /// `raise!` and `bugcheck!`, which return. `None`: another macro, its arguments rewritten in place.
    fn macro_call(&mut self, mac: &mut Macro) -> Option<TokenStream> {
        let name = mac.path.get_ident().map(Ident::to_string);
        let list = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(mac.tokens.clone());
        let Ok(mut list) = list else {
            if let Ok(mut repeat) = syn::parse2::<Repeat>(mac.tokens.clone()) {
                self.visit_expr_mut(&mut repeat.value);
                self.visit_expr_mut(&mut repeat.count);
                let (value, count) = (&repeat.value, &repeat.count);
                mac.tokens = quote!(#value; #count);
                return None;
            }
            if leaves(mac.tokens.clone()) {
                self.lower
                    .errors
                    .push(mac.path.span(), errors::MACRO_LEAVES);
            }
            if let Some(name) = name.filter(|n| n == "raise" || n == "bugcheck") {
                let message = errors::arguments(&name, "expressions");
                self.lower.errors.push(mac.path.span(), message);
            }
            return None;
        };
        let span = mac.path.span();
        for argument in &mut list {
            self.visit_expr_mut(argument);
        }
        let arguments: Vec<&Expr> = list.iter().collect();
        match (name.as_deref(), arguments.as_slice()) {
            (Some("raise"), [exception]) => {
                Some(quote_spanned!(span=> return ::ring3_nt::flow::Flow::Raise(#exception)))
            }
            (Some("bugcheck"), [code, parameters @ ..]) if parameters.len() <= 4 => {
                let mut four: Vec<TokenStream> = parameters
                    .iter()
                    .map(|p| word(p, &p.to_token_stream()))
                    .collect();
                four.resize(4, quote!(0));
                Some(
                    quote_spanned!(span=> return ::ring3_nt::flow::Flow::Bugcheck(#code, [#(#four),*])),
                )
            }
            (Some(name @ ("raise" | "bugcheck")), _) => {
                let wanted = if name == "raise" {
                    "one exception"
                } else {
                    "a code and up to four parameters"
                };
                self.lower
                    .errors
                    .push(span, errors::arguments(name, wanted));
                Some(quote!(()))
            }
            _ => {
                mac.tokens = list.into_token_stream();
                None
            }
        }
    }
}

/// The arguments of `vec![value; count]`.
struct Repeat {
    value: Expr,
    count: Expr,
}

impl Parse for Repeat {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let value = input.parse()?;
        input.parse::<Token![;]>()?;
        let count = input.parse()?;
        Ok(Repeat { value, count })
    }
}

/// Whether tokens that are no expressions contain something that leaves the routine or a loop.
fn leaves(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => ["return", "break", "continue"].iter().any(|k| name == k),
        TokenTree::Punct(p) => p.as_char() == '?',
        TokenTree::Group(group) => leaves(group.stream()),
        TokenTree::Literal(_) => false,
    })
}

/// A value as the guest sees it in a register: an unsuffixed number as it is, all else through `ToArg`.
/// `written` is the expression in the source, `value` what it was rewritten to.
pub fn word(written: &Expr, value: &TokenStream) -> TokenStream {
    match written {
        Expr::Lit(number) if is_plain_number(number) => quote!(#number),
        Expr::Unary(unary) => match (&unary.op, &*unary.expr) {
            (UnOp::Neg(_), Expr::Lit(number)) if is_plain_number(number) => {
                quote!((#number as u64).wrapping_neg())
            }
            (UnOp::Not(_), Expr::Lit(number)) if is_plain_number(number) => {
                quote!(!(#number as u64))
            }
            _ => quote_spanned!(written.span()=> ::ring3_nt::flow::ToArg::to_arg(&(#value))),
        },
        _ => quote_spanned!(written.span()=> ::ring3_nt::flow::ToArg::to_arg(&(#value))),
    }
}

fn is_plain_number(literal: &ExprLit) -> bool {
    matches!(&literal.lit, Lit::Int(number) if number.suffix().is_empty())
}

impl VisitMut for Rewrite<'_, '_> {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let replacement = match expr {
            Expr::Return(e) => {
                let value = match &mut e.expr {
                    Some(value) => {
                        self.visit_expr_mut(value);
                        quote!(#value)
                    }
                    None => quote!(()),
                };
                self.lower.return_value(value)
            }
            Expr::Try(e) => {
                self.visit_expr_mut(&mut e.expr);
                let inner = &e.expr;
                let value = Ident::new("value", Span::mixed_site());
                let error = Ident::new("error", Span::mixed_site());
                quote_spanned! {e.question_token.span()=>
                    (match #inner {
                        ::core::result::Result::Ok(#value) => #value,
                        ::core::result::Result::Err(#error) => return ::ring3_nt::flow::IntoFlow::into_flow(#error),
                    })
                }
            }
            Expr::Break(e) => {
                self.in_loop(e.label.as_ref(), e.break_token.span());
                if let Some(value) = &mut e.expr {
                    self.visit_expr_mut(value);
                }
                let Some(target) = self.target(e.label.as_ref()) else {
                    return;
                };
                let value = e.expr.as_ref().map(ToTokens::to_token_stream);
                let jump = self.lower.leave(target, value);
                quote!({ #jump })
            }
            Expr::Continue(e) => {
                self.in_loop(e.label.as_ref(), e.continue_token.span());
                let Some(target) = self.target(e.label.as_ref()) else {
                    return;
                };
                let Some(jump) = self.lower.again(target) else {
                    return;
                };
                quote!({ #jump })
            }
            Expr::Macro(e) => match self.macro_call(&mut e.mac) {
                Some(replacement) => replacement,
                None => return,
            },
            Expr::Loop(e) => {
                let label = e.label.clone();
                self.labelled(label.as_ref(), true, |me| me.visit_block_mut(&mut e.body));
                return;
            }
            Expr::While(e) => {
                let label = e.label.clone();
                self.labelled(label.as_ref(), true, |me| {
                    me.visit_expr_mut(&mut e.cond);
                    me.visit_block_mut(&mut e.body);
                });
                return;
            }
            Expr::ForLoop(e) => {
                self.visit_expr_mut(&mut e.expr);
                let label = e.label.clone();
                self.labelled(label.as_ref(), true, |me| me.visit_block_mut(&mut e.body));
                return;
            }
            Expr::Block(e) => {
                let label = e.label.clone();
                self.labelled(label.as_ref(), false, |me| me.visit_block_mut(&mut e.block));
                return;
            }
            Expr::Closure(_) | Expr::Async(_) | Expr::Const(_) => return,
            other => {
                visit_mut::visit_expr_mut(self, other);
                return;
            }
        };
        *expr = Expr::Verbatim(replacement);
    }

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        if let Stmt::Macro(s) = stmt {
            if let Some(replacement) = self.macro_call(&mut s.mac) {
                *stmt = Stmt::Expr(
                    Expr::Verbatim(replacement),
                    Some(Token![;](Span::call_site())),
                );
            }
            return;
        }
        visit_mut::visit_stmt_mut(self, stmt);
    }

    fn visit_item_mut(&mut self, _: &mut syn::Item) {}
}
