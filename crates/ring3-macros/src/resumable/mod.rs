//! `#[resumable]`: a linear function becomes a struct that can be suspended, cloned and resumed.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{FnArg, Ident, ImplItemFn, ItemFn, ItemStruct, Pat, Result, ReturnType, Type};

mod errors;
mod lower;
mod rewrite;
mod scan;
mod statements;
mod suspend;
#[cfg(test)]
mod tests;

use errors::Errors;
use lower::Lower;
use scan::Field;

/// The arguments of the attribute.
struct Options {
    name: Option<Ident>,
    methods: Vec<ImplItemFn>,
}

impl Parse for Options {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut options = Options {
            name: None,
            methods: Vec::new(),
        };
        while !input.is_empty() {
            if input.peek(syn::Token![struct]) {
                let item: ItemStruct = input.parse()?;
                if !item.fields.is_empty() || !item.generics.params.is_empty() {
                    return Err(syn::Error::new_spanned(item, errors::ATTRIBUTE_ITEMS));
                }
                options.name = Some(item.ident);
                continue;
            }
            let method: ImplItemFn = input.parse().map_err(|e| {
                syn::Error::new(e.span(), format!("{}: {e}", errors::ATTRIBUTE_ITEMS))
            })?;
            let name = &method.sig.ident;
            if !["holds", "wall", "on_unwind"].iter().any(|n| name == n) {
                return Err(syn::Error::new_spanned(name, errors::ATTRIBUTE_ITEMS));
            }
            options.methods.push(method);
        }
        Ok(options)
    }
}

/// The struct, its implementation of `Resume` and the constructor.
pub fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options: Options = syn::parse2(attribute)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    let mut errors = Errors::default();
    if !signature.generics.params.is_empty()
        || signature.generics.where_clause.is_some()
        || signature.asyncness.is_some()
        || signature.unsafety.is_some()
        || signature.constness.is_some()
        || signature.abi.is_some()
        || signature.variadic.is_some()
    {
        errors.push(signature.fn_token.span(), errors::PLAIN_FUNCTION);
    }
    let cx = machine_parameter(&function, &mut errors);
    let parameters = parameters(&function, &mut errors);
    let fields = scan::fields(parameters, &function.block, &mut errors);
    let ret = match &signature.output {
        ReturnType::Default => syn::parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    let mut lower = Lower::new(&ret, &cx, &fields, &mut errors);
    lower.body(&function.block.stmts);
    let code = emit(&function, options, &cx, &fields, &lower);
    errors.finish()?;
    Ok(code)
}

fn emit(
    function: &ItemFn,
    options: Options,
    cx: &Ident,
    fields: &[Field],
    lower: &Lower,
) -> TokenStream {
    let (name, vis, attrs) = (&function.sig.ident, &function.vis, &function.attrs);
    let routine = name.unraw().to_string();
    let kept = options
        .name
        .unwrap_or_else(|| format_ident!("{}", camel_case(&routine), span = name.span()));
    let line = crate::text::line_of(name.span());
    let doc = format!("What the routine `{routine}` remembers while it is suspended.");
    let (names, types): (Vec<_>, Vec<_>) = fields.iter().map(|f| (&f.name, &f.ty)).unzip();
    let given = fields.iter().filter(|f| f.parameter);
    let (given_names, given_types): (Vec<_>, Vec<_>) = given.map(|f| (&f.name, &f.ty)).unzip();
    let locals = fields.iter().filter(|f| !f.parameter).map(|f| &f.name);
    let (pc, rax, machine) = (lower::pc(), lower::rax(), lower::machine());
    let (numbers, pieces): (Vec<_>, Vec<_>) = lower.pieces().unzip();
    let items = &lower.items;
    let methods = &options.methods;
    let points = lower.points.iter().map(|point| {
        let (number, text, line) = (point.pc, &point.text, point.line);
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        quote!(#number => (#text, #line),)
    });
    quote! {
        #[doc = #doc]
        #[derive(Clone, Hash, Debug)]
        #[allow(non_snake_case)]
        #vis struct #kept {
            pc: u16,
            #(#names: #types,)*
        }

        #[allow(
            unused_variables, unused_mut, unused_assignments, unused_labels, unused_parens, unused_braces,
            unreachable_code, non_snake_case, clippy::all
        )]
        impl ::ring3_nt::flow::Resume for #kept {
            fn at(&self) -> ::ring3_nt::flow::At {
                let (text, line) = match self.pc {
                    #(#points)*
                    _ => ("start", #line),
                };
                ::ring3_nt::flow::At { routine: #routine, text, line }
            }

            fn resume(
                mut self: ::std::boxed::Box<Self>,
                #cx: &mut ::ring3_nt::Machine,
                #rax: u64,
            ) -> ::ring3_nt::flow::Flow {
                #(#items)*
                let mut #pc: u16 = self.pc;
                #(let mut #names = self.#names;)*
                #machine: loop {
                    match #pc {
                        #(#numbers => { #pieces })*
                        other => ::core::unreachable!("{} has no block {other}", #routine),
                    }
                }
            }

            #(#methods)*
        }

        #(#attrs)*
        #[must_use = "a continuation does nothing until a Flow carries it"]
        #vis fn #name(#(#given_names: #given_types),*) -> ::ring3_nt::flow::Kont {
            ::std::boxed::Box::new(#kept {
                pc: 0,
                #(#given_names,)*
                #(#locals: ::core::default::Default::default(),)*
            })
        }
    }
}

/// The name of the first parameter, which has to be `cx: &mut Machine`.
fn machine_parameter(function: &ItemFn, errors: &mut Errors) -> Ident {
    if let Some(FnArg::Typed(first)) = function.sig.inputs.first()
        && let Pat::Ident(name) = &*first.pat
        && let Type::Reference(reference) = &*first.ty
        && reference.mutability.is_some()
    {
        return name.ident.clone();
    }
    errors.push(function.sig.ident.span(), errors::NO_MACHINE);
    Ident::new("cx", Span::call_site())
}

fn parameters(function: &ItemFn, errors: &mut Errors) -> Vec<(Ident, Type)> {
    let mut found = Vec::new();
    for input in function.sig.inputs.iter().skip(1) {
        match input {
            FnArg::Typed(parameter) => match &*parameter.pat {
                Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => {
                    found.push((name.ident.clone(), (*parameter.ty).clone()));
                }
                other => errors.push(other.span(), errors::PLAIN_PARAMETER),
            },
            FnArg::Receiver(this) => errors.push(this.span(), errors::PLAIN_PARAMETER),
        }
    }
    found
}

/// `io_complete` as `IoComplete`.
fn camel_case(name: &str) -> String {
    let mut out = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}
