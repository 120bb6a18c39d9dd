//! The lowering: a body becomes numbered blocks, and a suspension ends one of them.
//!
//! The statements are walked with the destination of their value and the next block in hand. What does not
//! suspend is copied (see `rewrite`); `if`, `match` and the loops that suspend are lowered arm by arm, all
//! arms jumping to the block behind. The first piece of an arm stays inline, so that it sees the variables
//! of its pattern.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Expr, ExprIf, Ident, Label, Lifetime, Macro, Stmt, Type};

use super::errors::{self, Errors};
use super::scan::{self, Field};

/// Where the value of an expression goes.
#[derive(Clone)]
pub enum Dest {
    Discard,
    Place(Box<TokenStream>),
    Return,
}

/// What is done after a piece of code.
#[derive(Clone, Copy)]
pub enum Next {
    Block(usize),
    /// The end of the routine: returns `()`.
    End,
    /// The end of a diverging `else` block: cannot be reached.
    Never(Span),
}

/// A place where the routine stands while it is suspended.
pub struct Point {
    pub pc: usize,
    pub text: String,
    pub line: u32,
}

/// A block: its code, and whether anything leads to it.
#[derive(Default)]
pub(super) struct Piece {
    code: TokenStream,
    pub(super) used: bool,
    /// How many scopes are open at its beginning.
    depth: usize,
}

/// A lowered loop or labelled block around the current statement.
struct Target {
    label: Option<String>,
    dest: Dest,
    leave: Next,
    /// The head of a loop; `None`: a labelled block.
    again: Option<usize>,
}

/// The state of the lowering of one routine.
pub struct Lower<'a> {
    pub(super) ret: &'a Type,
    pub(super) cx: &'a Ident,
    pub(super) fields: &'a [Field],
    pub errors: &'a mut Errors,
    pub(super) pieces: Vec<Piece>,
    pub points: Vec<Point>,
    pub items: Vec<TokenStream>,
    pub(super) scopes: Vec<Vec<String>>,
    targets: Vec<Target>,
}

impl<'a> Lower<'a> {
    pub fn new(ret: &'a Type, cx: &'a Ident, fields: &'a [Field], errors: &'a mut Errors) -> Self {
        Lower {
            ret,
            cx,
            fields,
            errors,
            pieces: Vec::new(),
            points: Vec::new(),
            items: Vec::new(),
            scopes: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Lowers a whole body: block 0 is its beginning.
    pub fn body(&mut self, stmts: &[Stmt]) {
        let first = self.reserve();
        let code = self.stmts(stmts, &Dest::Return, Next::End);
        self.place(first, code);
        if let Some(piece) = self.pieces.get_mut(first) {
            piece.used = true;
        }
        if self.pieces.len() > usize::from(u16::MAX) {
            self.errors.push(self.cx.span(), "too many suspensions");
        }
    }

    /// The blocks that can be reached, by number.
    pub fn pieces(&self) -> impl Iterator<Item = (u16, &TokenStream)> {
        (0u16..)
            .zip(&self.pieces)
            .filter(|(_, piece)| piece.used)
            .map(|(number, piece)| (number, &piece.code))
    }

    pub(super) fn reserve(&mut self) -> usize {
        self.pieces.push(Piece {
            depth: self.scopes.len(),
            ..Piece::default()
        });
        self.pieces.len() - 1
    }

    pub(super) fn place(&mut self, block: usize, code: TokenStream) {
        self.pieces[block].code = code;
    }

    pub(super) fn goto(&mut self, next: Next) -> TokenStream {
        match next {
            Next::Block(block) => {
                self.pieces[block].used = true;
                let number = u16::try_from(block).unwrap_or(u16::MAX);
                let (pc, machine) = (pc(), machine());
                let left = self.left_behind(self.pieces[block].depth);
                quote!(#left #pc = #number; continue #machine;)
            }
            Next::End => {
                let value = self.return_value(quote!(()));
                quote!(#value;)
            }
            Next::Never(span) => {
                self.errors.push(span, errors::ELSE_FALLS_THROUGH);
                TokenStream::new()
            }
        }
    }

    /// Locals that go out of scope by a jump get a value, as the body may have moved theirs away.
    fn left_behind(&self, depth: usize) -> TokenStream {
        let names: Vec<&String> = self.scopes.iter().skip(depth).flatten().collect();
        let fields = self
            .fields
            .iter()
            .filter(|f| names.iter().any(|n| f.name == **n));
        let resets = fields.filter(|f| !scan::is_number(&f.ty)).map(|f| {
            let name = &f.name;
            quote!(#name = ::core::default::Default::default();)
        });
        quote!(#(#resets)*)
    }

    /// `return value`, as a `Flow`.
    pub fn return_value(&self, value: TokenStream) -> TokenStream {
        let ret = self.ret;
        quote!(return <#ret as ::ring3_nt::flow::IntoFlow>::into_flow(#value))
    }

    /// Puts a value where it belongs and goes on.
    pub(super) fn finish(&mut self, value: TokenStream, dest: &Dest, next: Next) -> TokenStream {
        match dest {
            Dest::Return => {
                let value = self.return_value(value);
                quote!(#value;)
            }
            Dest::Place(place) => {
                let goto = self.goto(next);
                quote!(#place = #value; #goto)
            }
            Dest::Discard => {
                let goto = self.goto(next);
                quote!(#value; #goto)
            }
        }
    }

    /// Where to go after something whose own value is `()`.
    pub(super) fn after_unit(&mut self, dest: &Dest, next: Next) -> Next {
        match dest {
            Dest::Discard => next,
            Dest::Return => Next::End,
            Dest::Place(_) => {
                let block = self.reserve();
                let code = self.finish(quote!(()), dest, next);
                self.place(block, code);
                Next::Block(block)
            }
        }
    }

    /// An expression in a position where it may suspend.
    pub(super) fn value(&mut self, expr: &Expr, dest: &Dest, next: Next) -> TokenStream {
        let expr = strip(expr);
        let Some(span) = scan::in_expr(expr) else {
            let value = self.copy_expr(expr);
            if leaves(expr) {
                return quote!(#value;);
            }
            return self.finish(value, dest, next);
        };
        match expr {
            Expr::Macro(e) if scan::suspension(&e.mac).is_some() => {
                self.suspend(&e.mac, |me| me.result(dest, next))
            }
            Expr::If(e) => self.branch(e, dest, next),
            Expr::Match(e) => {
                self.refuse(&e.expr, errors::INSIDE_CONDITION);
                let scrutinee = self.copy_expr(&e.expr);
                let mut arms = TokenStream::new();
                for arm in &e.arms {
                    let guard = arm.guard.as_ref().map(|(_, guard)| {
                        self.refuse(guard, errors::INSIDE_CONDITION);
                        let guard = self.copy_expr(guard);
                        quote!(if #guard)
                    });
                    let (attrs, pat) = (&arm.attrs, &arm.pat);
                    let body = self.value(&arm.body, dest, next);
                    arms.extend(quote!(#(#attrs)* #pat #guard => { #body }));
                }
                quote!(match #scrutinee { #arms })
            }
            Expr::While(e) => {
                self.refuse(&e.cond, errors::INSIDE_CONDITION);
                let head = self.reserve();
                let enter = self.goto(Next::Block(head));
                let leave = self.after_unit(dest, next);
                let condition = self.copy_expr(&e.cond);
                self.enter(e.label.as_ref(), Dest::Discard, leave, Some(head));
                let body = self.stmts(&e.body.stmts, &Dest::Discard, Next::Block(head));
                self.targets.pop();
                let leave = self.goto(leave);
                self.place(head, quote!(if #condition { #body } else { #leave }));
                enter
            }
            Expr::Loop(e) => {
                let head = self.reserve();
                let enter = self.goto(Next::Block(head));
                self.enter(e.label.as_ref(), dest.clone(), next, Some(head));
                let body = self.stmts(&e.body.stmts, &Dest::Discard, Next::Block(head));
                self.targets.pop();
                self.place(head, body);
                enter
            }
            Expr::Block(e) => {
                if e.label.is_some() {
                    self.enter(e.label.as_ref(), dest.clone(), next, None);
                }
                let body = self.stmts(&e.block.stmts, dest, next);
                if e.label.is_some() {
                    self.targets.pop();
                }
                quote!({ #body })
            }
            Expr::Assign(e) => {
                self.refuse(&e.left, errors::INSIDE_EXPRESSION);
                let place = Dest::Place(Box::new(self.copy_expr(&e.left)));
                let after = self.after_unit(dest, next);
                self.value(&e.right, &place, after)
            }
            Expr::Return(e) => match &e.expr {
                Some(value) => self.value(value, &Dest::Return, Next::End),
                None => TokenStream::new(),
            },
            Expr::Break(e) => match (&e.expr, self.target(e.label.as_ref())) {
                (Some(value), Some(target)) => {
                    let (dest, leave) = (
                        self.targets[target].dest.clone(),
                        self.targets[target].leave,
                    );
                    self.value(value, &dest, leave)
                }
                _ => TokenStream::new(),
            },
            Expr::ForLoop(_) => self.error(span, errors::INSIDE_FOR),
            Expr::Unsafe(_) => self.error(span, errors::INSIDE_UNSAFE),
            _ => self.error(span, errors::INSIDE_EXPRESSION),
        }
    }

    pub(super) fn branch(&mut self, e: &ExprIf, dest: &Dest, next: Next) -> TokenStream {
        self.refuse(&e.cond, errors::INSIDE_CONDITION);
        let condition = self.copy_expr(&e.cond);
        let yes = self.stmts(&e.then_branch.stmts, dest, next);
        let no = match &e.else_branch {
            Some((_, otherwise)) => self.value(otherwise, dest, next),
            None => {
                let after = self.after_unit(dest, next);
                self.goto(after)
            }
        };
        quote!(if #condition { #yes } else { #no })
    }

    pub(super) fn enter(
        &mut self,
        label: Option<&Label>,
        dest: Dest,
        leave: Next,
        again: Option<usize>,
    ) {
        self.targets.push(Target {
            label: label.map(|l| l.name.ident.to_string()),
            dest,
            leave,
            again,
        });
    }

    /// The lowered loop or block that `break 'label` or `continue 'label` means.
    pub fn target(&self, label: Option<&Lifetime>) -> Option<usize> {
        self.targets.iter().rposition(|target| match label {
            Some(label) => target.label.as_ref().is_some_and(|l| label.ident == l),
            None => target.again.is_some(),
        })
    }

    /// The jump of a `break`.
    pub fn leave(&mut self, target: usize, value: Option<TokenStream>) -> TokenStream {
        let (dest, leave) = (
            self.targets[target].dest.clone(),
            self.targets[target].leave,
        );
        match value {
            Some(value) => self.finish(value, &dest, leave),
            None => {
                let after = self.after_unit(&dest, leave);
                self.goto(after)
            }
        }
    }

    /// The jump of a `continue`.
    pub fn again(&mut self, target: usize) -> Option<TokenStream> {
        let head = self.targets[target].again?;
        Some(self.goto(Next::Block(head)))
    }

    pub(super) fn refuse(&mut self, expr: &Expr, message: &str) {
        if let Some(span) = scan::in_expr(expr) {
            self.errors.push(span, message);
        }
    }

    pub(super) fn error(&mut self, span: Span, message: &str) -> TokenStream {
        self.errors.push(span, message);
        TokenStream::new()
    }
}

/// The variable that says which block is next; hygienic, as are the next two.
pub fn pc() -> Ident {
    Ident::new("pc", Span::mixed_site())
}

/// The result of the suspension that is being resumed from.
pub fn rax() -> Ident {
    Ident::new("rax", Span::mixed_site())
}

/// The label of the loop over the blocks.
pub fn machine() -> Lifetime {
    Lifetime::new("'machine", Span::mixed_site())
}

pub(super) fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(e) => strip(&e.expr),
        Expr::Group(e) => strip(&e.expr),
        _ => expr,
    }
}

/// The suspension that an expression is.
pub(super) fn direct(expr: &Expr) -> Option<Macro> {
    match strip(expr) {
        Expr::Macro(e) if scan::suspension(&e.mac).is_some() => Some(e.mac.clone()),
        _ => None,
    }
}

/// Whether control never comes out of an expression, as far as its outermost form tells.
pub(super) fn leaves(expr: &Expr) -> bool {
    match expr {
        Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) => true,
        Expr::Macro(e) => returns(&e.mac),
        _ => false,
    }
}

pub(super) fn returns(mac: &Macro) -> bool {
    mac.path.is_ident("raise") || mac.path.is_ident("bugcheck")
}
