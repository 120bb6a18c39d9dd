//! What a body says before it is lowered: where it suspends and which locals outlive a suspension.

use std::collections::BTreeMap;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Arm, Block, Expr, ExprIf, ExprWhile, Ident, Item, Local, Macro, Pat, Stmt, Type};

use super::errors::{self, Errors};
use crate::text;

/// The suspensions: macros that end a piece of the routine.
const SUSPENSIONS: &[&str] = &["call", "host", "wait", "spin", "park"];

/// The name of a suspension, if this macro is one.
pub fn suspension(mac: &Macro) -> Option<String> {
    let name = mac.path.get_ident()?.to_string();
    SUSPENSIONS.contains(&name.as_str()).then_some(name)
}

/// Finds the first suspension below a node, in any position except in nested items.
struct Finder(Option<Span>);

impl<'ast> Visit<'ast> for Finder {
    fn visit_macro(&mut self, mac: &'ast Macro) {
        if suspension(mac).is_some() {
            self.0.get_or_insert_with(|| span_of(mac));
        } else if let Some(span) = in_tokens(mac.tokens.clone()) {
            self.0.get_or_insert(span);
        }
    }

    fn visit_item(&mut self, _: &'ast Item) {}
}

/// A suspension among the tokens of a foreign macro.
fn in_tokens(tokens: TokenStream) -> Option<Span> {
    let mut name: Option<Ident> = None;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => name = Some(ident),
            TokenTree::Punct(p) if p.as_char() == '!' => {
                if let Some(name) = name.take()
                    && SUSPENSIONS.iter().any(|s| name == s)
                {
                    return Some(name.span());
                }
            }
            TokenTree::Group(group) => {
                if let Some(span) = in_tokens(group.stream()) {
                    return Some(span);
                }
                name = None;
            }
            _ => name = None,
        }
    }
    None
}

fn span_of(mac: &Macro) -> Span {
    mac.path
        .get_ident()
        .map_or_else(Span::call_site, Ident::span)
}

/// Where the first suspension of a statement is.
pub fn in_stmt(stmt: &Stmt) -> Option<Span> {
    let mut finder = Finder(None);
    finder.visit_stmt(stmt);
    finder.0
}

/// Where the first suspension of an expression is.
pub fn in_expr(expr: &Expr) -> Option<Span> {
    let mut finder = Finder(None);
    finder.visit_expr(expr);
    finder.0
}

/// Whether any of these statements suspends.
pub fn in_stmts(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|s| in_stmt(s).is_some())
}

/// Name and type of a local that has to be saved: declared with a type, and used by statements (`rest`)
/// that come after a suspension, or given its value by an expression that suspends on the way.
pub fn saved<'a>(local: &'a Local, rest: &[Stmt]) -> Option<(&'a Ident, &'a Type)> {
    let Pat::Type(typed) = &local.pat else {
        return None;
    };
    let Pat::Ident(name) = &*typed.pat else {
        return None;
    };
    if name.by_ref.is_some() || name.subpat.is_some() {
        return None;
    }
    let own = local
        .init
        .as_ref()
        .is_some_and(|init| !is_suspension(&init.expr) && in_expr(&init.expr).is_some());
    (own || in_stmts(rest)).then_some((&name.ident, &typed.ty))
}

/// Whether an expression is a suspension itself.
pub fn is_suspension(expr: &Expr) -> bool {
    match expr {
        Expr::Macro(e) => suspension(&e.mac).is_some(),
        Expr::Paren(e) => is_suspension(&e.expr),
        Expr::Group(e) => is_suspension(&e.expr),
        _ => false,
    }
}

/// One saved name.
pub struct Field {
    pub name: Ident,
    pub ty: Type,
    pub parameter: bool,
}

/// The fields of the struct: parameters first, then saved locals in the order of the source.
pub fn fields(parameters: Vec<(Ident, Type)>, body: &Block, errors: &mut Errors) -> Vec<Field> {
    let mut scan = Scan {
        fields: Vec::new(),
        index: BTreeMap::new(),
        scopes: Vec::new(),
        temporaries: Vec::new(),
        errors,
    };
    let mut outermost = Vec::new();
    for (name, ty) in parameters {
        outermost.push(name.to_string());
        scan.field(name, ty, true);
    }
    scan.block(body, outermost);
    for name in std::mem::take(&mut scan.temporaries) {
        if scan.index.contains_key(&name.to_string()) {
            scan.errors
                .push(name.span(), errors::hides_saved(&name.to_string()));
        }
    }
    scan.fields
}

struct Scan<'e> {
    fields: Vec<Field>,
    index: BTreeMap<String, usize>,
    scopes: Vec<Vec<String>>,
    /// Names of temporaries in whose scope a suspension follows.
    temporaries: Vec<Ident>,
    errors: &'e mut Errors,
}

impl Scan<'_> {
    fn field(&mut self, name: Ident, ty: Type, parameter: bool) {
        let key = name.to_string();
        if key == "pc" {
            self.errors.push(name.span(), errors::RESERVED_PC);
        }
        if borrows(&ty) {
            self.errors.push(name.span(), errors::HELD_REFERENCE);
        }
        if let Some(&at) = self.index.get(&key) {
            let known = &self.fields[at];
            let (first, second) = (text::of_type(&known.ty), text::of_type(&ty));
            if known.ty.to_token_stream().to_string() != ty.to_token_stream().to_string() {
                self.errors
                    .push(name.span(), errors::two_types(&key, &first, &second));
            }
            return;
        }
        self.index.insert(key, self.fields.len());
        self.fields.push(Field {
            name,
            ty,
            parameter,
        });
    }

    fn block(&mut self, block: &Block, scope: Vec<String>) {
        self.scopes.push(scope);
        for (i, stmt) in block.stmts.iter().enumerate() {
            let rest = block.stmts.get(i + 1..).unwrap_or_default();
            self.visit_stmt(stmt);
            let Stmt::Local(local) = stmt else { continue };
            if let Some((name, ty)) = saved(local, rest) {
                let key = name.to_string();
                let outer = self.scopes.len().saturating_sub(1);
                if self.scopes.iter().take(outer).any(|s| s.contains(&key)) {
                    self.errors.push(name.span(), errors::hides_outer(&key));
                }
                if let Some(scope) = self.scopes.last_mut() {
                    scope.push(key);
                }
                self.field(name.clone(), ty.clone(), false);
            } else if in_stmts(rest) {
                self.bind(&local.pat);
            }
        }
        self.scopes.pop();
    }

    /// Notes the names of a pattern as temporaries.
    fn bind(&mut self, pat: &Pat) {
        struct Names<'a>(&'a mut Vec<Ident>);
        impl<'ast> Visit<'ast> for Names<'_> {
            fn visit_pat_ident(&mut self, pat: &'ast syn::PatIdent) {
                self.0.push(pat.ident.clone());
                visit::visit_pat_ident(self, pat);
            }
            fn visit_expr(&mut self, _: &'ast Expr) {}
        }
        Names(&mut self.temporaries).visit_pat(pat);
    }

    /// Notes the names that the `let`s of a condition bind.
    fn bind_condition(&mut self, condition: &Expr) {
        match condition {
            Expr::Let(e) => self.bind(&e.pat),
            Expr::Binary(e) => {
                self.bind_condition(&e.left);
                self.bind_condition(&e.right);
            }
            Expr::Paren(e) => self.bind_condition(&e.expr),
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Scan<'_> {
    fn visit_block(&mut self, block: &'ast Block) {
        if in_stmts(&block.stmts) {
            self.block(block, Vec::new());
        }
    }

    fn visit_expr_if(&mut self, e: &'ast ExprIf) {
        if in_stmts(&e.then_branch.stmts) {
            self.bind_condition(&e.cond);
        }
        visit::visit_expr_if(self, e);
    }

    fn visit_expr_while(&mut self, e: &'ast ExprWhile) {
        if in_stmts(&e.body.stmts) {
            self.bind_condition(&e.cond);
        }
        visit::visit_expr_while(self, e);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        if in_expr(&arm.body).is_some() {
            self.bind(&arm.pat);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_item(&mut self, _: &'ast Item) {}
    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}
}

/// Whether a type is written as something that borrows: a reference that is not `'static`, or `impl ..`.
fn borrows(ty: &Type) -> bool {
    match ty {
        Type::Reference(r) => r.lifetime.as_ref().is_none_or(|l| l.ident != "static"),
        Type::ImplTrait(_) => true,
        _ => false,
    }
}

/// Whether a type is one of the plain numbers or an address, as far as its name tells: never moved away.
pub fn is_number(ty: &Type) -> bool {
    const PLAIN: &[&str] = &[
        "bool", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
        "isize", "Gva", "UserGva",
    ];
    let Type::Path(path) = ty else { return false };
    let last = path.path.segments.last();
    last.is_some_and(|s| PLAIN.iter().any(|p| s.ident == p))
}
