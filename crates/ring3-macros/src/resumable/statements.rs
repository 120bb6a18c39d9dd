//! The statements of a lowered block, in order.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Expr, Ident, Local, Stmt};

use super::errors;
use super::lower::{Dest, Lower, Next, direct, leaves, rax, returns, strip};
use super::scan;

impl Lower<'_> {
    pub(super) fn stmts(&mut self, stmts: &[Stmt], dest: &Dest, next: Next) -> TokenStream {
        self.scopes.push(Vec::new());
        let code = self.sequence(stmts, dest, next);
        self.scopes.pop();
        code
    }

    pub(super) fn sequence(&mut self, stmts: &[Stmt], dest: &Dest, next: Next) -> TokenStream {
        let mut out = TokenStream::new();
        let mut left = stmts;
        while let Some((stmt, rest)) = left.split_first() {
            left = rest;
            if scan::in_stmt(stmt).is_some() {
                self.refuse_conditional(stmt);
                if let Some(code) = self.suspending(stmt, rest, dest, next) {
                    out.extend(code);
                    return out;
                }
                // `let .. else { suspends }`: the statement stays in this block.
                if let Stmt::Local(local) = stmt {
                    out.extend(self.let_else(local));
                }
                continue;
            }
            match stmt {
                Stmt::Local(local) => match scan::saved(local, rest) {
                    Some((name, _)) => {
                        self.refuse_conditional(stmt);
                        out.extend(self.assign_saved(local, name));
                    }
                    None => out.extend(self.copy_stmt(stmt)),
                },
                Stmt::Item(item) => self.items.push(item.to_token_stream()),
                Stmt::Expr(expr, None) if rest.is_empty() => {
                    out.extend(self.value(expr, dest, next));
                    return out;
                }
                _ => {
                    let code = self.copy_stmt(stmt);
                    if diverges(stmt) {
                        out.extend(code);
                        return out;
                    }
                    if rest.is_empty() && !matches!(dest, Dest::Discard) {
                        // In a block of its own the compiler sees whether it ends here.
                        out.extend(self.finish(quote!({ #code }), dest, next));
                        return out;
                    }
                    out.extend(code);
                }
            }
        }
        let after = self.after_unit(dest, next);
        out.extend(self.goto(after));
        out
    }

    /// The lowering takes statements apart, so that their attributes have no place to go.
    fn refuse_conditional(&mut self, stmt: &Stmt) {
        let attributes = match stmt {
            Stmt::Local(s) => &s.attrs,
            Stmt::Macro(s) => &s.attrs,
            Stmt::Expr(Expr::If(e), _) => &e.attrs,
            Stmt::Expr(Expr::Match(e), _) => &e.attrs,
            Stmt::Expr(Expr::While(e), _) => &e.attrs,
            Stmt::Expr(Expr::Loop(e), _) => &e.attrs,
            Stmt::Expr(Expr::Block(e), _) => &e.attrs,
            Stmt::Expr(Expr::Assign(e), _) => &e.attrs,
            Stmt::Expr(Expr::Macro(e), _) => &e.attrs,
            _ => return,
        };
        if let Some(attribute) = attributes.iter().find(|a| a.path().is_ident("cfg")) {
            self.errors.push(attribute.span(), errors::CONDITIONAL);
        }
    }

    /// A saved local gets its value: the declaration is an assignment now.
    pub(super) fn assign_saved(&mut self, local: &Local, name: &Ident) -> TokenStream {
        let value = match &local.init {
            Some(init) => self.copy_expr(&init.expr),
            None => quote!(::core::default::Default::default()),
        };
        self.in_scope(name);
        quote!(#name = #value;)
    }

    pub(super) fn in_scope(&mut self, name: &Ident) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(name.to_string());
        }
    }

    /// A statement that suspends, and all that follows it. `None`: `let .. else` with a suspension in `else`.
    pub(super) fn suspending(
        &mut self,
        stmt: &Stmt,
        rest: &[Stmt],
        dest: &Dest,
        next: Next,
    ) -> Option<TokenStream> {
        match stmt {
            Stmt::Local(local) => self.suspending_let(local, rest, dest, next),
            Stmt::Macro(s) => {
                let expr = Expr::Macro(syn::ExprMacro {
                    attrs: Vec::new(),
                    mac: s.mac.clone(),
                });
                Some(self.then(&expr, rest, dest, next))
            }
            Stmt::Expr(expr, None) if rest.is_empty() => Some(self.value(expr, dest, next)),
            Stmt::Expr(expr, _) => Some(self.then(expr, rest, dest, next)),
            Stmt::Item(_) => None,
        }
    }

    /// An expression statement that suspends, then the rest of its block.
    pub(super) fn then(
        &mut self,
        expr: &Expr,
        rest: &[Stmt],
        dest: &Dest,
        next: Next,
    ) -> TokenStream {
        if rest.is_empty() {
            let after = self.after_unit(dest, next);
            return self.value(expr, &Dest::Discard, after);
        }
        if let Some(mac) = direct(expr) {
            return self.suspend(&mac, |me| me.sequence(rest, dest, next));
        }
        if let Expr::Assign(assign) = strip(expr)
            && let Some(mac) = direct(&assign.right)
            && scan::in_expr(&assign.left).is_none()
        {
            let place = self.copy_expr(&assign.left);
            let rax = rax();
            return self.suspend(&mac, |me| {
                let rest = me.sequence(rest, dest, next);
                quote!(#place = ::ring3_nt::flow::FromRax::from_rax(#rax); #rest)
            });
        }
        let join = self.reserve();
        let code = self.value(expr, &Dest::Discard, Next::Block(join));
        if self.pieces[join].used || self.errors.any() {
            let rest = self.sequence(rest, dest, next);
            self.place(join, rest);
        }
        code
    }

    pub(super) fn suspending_let(
        &mut self,
        local: &Local,
        rest: &[Stmt],
        dest: &Dest,
        next: Next,
    ) -> Option<TokenStream> {
        let init = local.init.as_ref()?;
        if init.diverge.is_some() {
            if let Some(span) = scan::in_expr(&init.expr) {
                self.errors.push(span, errors::RESULT_IN_PATTERN);
                return Some(TokenStream::new());
            }
            return None;
        }
        let saved = scan::saved(local, rest).map(|(name, _)| name);
        if let Some(mac) = direct(&init.expr) {
            let rax = rax();
            let value = quote!(::ring3_nt::flow::FromRax::from_rax(#rax));
            let pat = &local.pat;
            let assign = match (saved, pat) {
                (Some(name), _) => quote!(#name = #value;),
                (None, syn::Pat::Wild(_)) => TokenStream::new(),
                (None, syn::Pat::Type(t)) if matches!(&*t.pat, syn::Pat::Ident(_)) => {
                    quote!(let #pat = #value;)
                }
                (None, syn::Pat::Type(t)) if matches!(&*t.pat, syn::Pat::Wild(_)) => {
                    TokenStream::new()
                }
                (None, syn::Pat::Ident(_)) => {
                    self.errors.push(pat.span(), errors::RESULT_WITHOUT_TYPE);
                    TokenStream::new()
                }
                (None, _) => {
                    self.errors.push(pat.span(), errors::RESULT_IN_PATTERN);
                    TokenStream::new()
                }
            };
            return Some(self.suspend(&mac, |me| {
                if let Some(name) = saved {
                    me.in_scope(name);
                }
                let rest = me.sequence(rest, dest, next);
                quote!(#assign #rest)
            }));
        }
        let Some(name) = saved else {
            match scan::in_expr(&init.expr) {
                Some(span) if !lowers(&init.expr) => {
                    self.errors.push(span, errors::INSIDE_EXPRESSION);
                }
                _ => self
                    .errors
                    .push(local.pat.span(), errors::RESULT_WITHOUT_TYPE),
            }
            return Some(self.sequence(rest, dest, next));
        };
        let join = self.reserve();
        let place = Dest::Place(Box::new(quote!(#name)));
        let code = self.value(&init.expr, &place, Next::Block(join));
        self.in_scope(name);
        let rest = self.sequence(rest, dest, next);
        self.place(join, rest);
        Some(code)
    }

    /// `let PATTERN = value else { .. }` with a suspension in the `else` block.
    pub(super) fn let_else(&mut self, local: &Local) -> TokenStream {
        let Some(init) = &local.init else {
            return TokenStream::new();
        };
        let Some((_, otherwise)) = &init.diverge else {
            return TokenStream::new();
        };
        let pat = &local.pat;
        let value = self.copy_expr(&init.expr);
        let never = Next::Never(otherwise.span());
        let otherwise = self.value(otherwise, &Dest::Discard, never);
        quote!(let #pat = #value else { #otherwise };)
    }
}

fn diverges(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::Expr(expr, _) => leaves(expr),
        Stmt::Macro(s) => returns(&s.mac),
        _ => false,
    }
}

/// Whether an expression has a form that can be lowered.
fn lowers(expr: &Expr) -> bool {
    matches!(
        strip(expr),
        Expr::If(_) | Expr::Match(_) | Expr::Loop(_) | Expr::While(_) | Expr::Block(_)
    )
}
