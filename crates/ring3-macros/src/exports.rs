//! `#[exports]`: the declaration of routines that a driver can import.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ImplItem, ImplItemFn, ItemImpl,
    Lit, LitStr, Meta, Pat, PathArguments, Result, ReturnType, Token, Type,
};

use crate::text;

const LEVELS: &[&str] = &[
    "PASSIVE_LEVEL",
    "APC_LEVEL",
    "DISPATCH_LEVEL",
    "DIRQL",
    "CLOCK_LEVEL",
    "IPI_LEVEL",
    "HIGH_LEVEL",
];

/// Emits the block with its table of exports.
pub fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let module: LitStr = syn::parse2(attribute).map_err(|e| {
        Error::new(
            e.span(),
            "name the module that exports these routines: #[exports(\"ntoskrnl.exe\")]",
        )
    })?;
    let mut block: ItemImpl = syn::parse2(item)?;
    if let Some((_, path, _)) = &block.trait_ {
        return Err(Error::new_spanned(
            path,
            "exports are the functions of a type's own impl block, not of a trait",
        ));
    }
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &block.generics,
            "a type that carries exports cannot be generic",
        ));
    }
    let mut errors: Option<Error> = None;
    let mut entries = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else {
            continue;
        };
        match Declaration::take(function).and_then(|found| match found {
            Some(found) => found.entry(&module, function).map(Some),
            None => Ok(None),
        }) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(e) => match &mut errors {
                Some(all) => all.combine(e),
                None => errors = Some(e),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }
    let doc = format!("The routines that {} exports from here.", module.value());
    block.items.push(syn::parse_quote! {
        #[doc = #doc]
        pub const EXPORTS: &'static [::ring3_nt::export::Export] = &[#(#entries),*];
    });
    Ok(quote! {
        #[allow(non_snake_case, clippy::too_many_arguments)]
        #block
    })
}

/// What the attributes of one function say.
#[derive(Default)]
struct Declaration {
    irql: Option<TokenStream>,
    fidelity: Option<TokenStream>,
    page: String,
    aliases: Vec<LitStr>,
    hal: bool,
    returns: Option<Type>,
    summary: String,
    conditions: Vec<Attribute>,
}

impl Declaration {
    /// Takes our attributes off a function. `None`: it is not an export.
    fn take(function: &mut ImplItemFn) -> Result<Option<Declaration>> {
        let mut found = Declaration::default();
        let mut internal = false;
        let mut kept = Vec::new();
        let mut ours: Option<Span> = None;
        for attribute in std::mem::take(&mut function.attrs) {
            let name = attribute
                .path()
                .get_ident()
                .map(Ident::to_string)
                .unwrap_or_default();
            match name.as_str() {
                "irql" => found.irql = Some(attribute.parse_args::<Range>()?.0),
                "partial" | "assumed" => found.judge(&name, &attribute)?,
                "page" => found.page = one_string(&attribute)?.value(),
                "alias" => {
                    let names = attribute
                        .parse_args_with(Punctuated::<LitStr, Token![,]>::parse_terminated)?;
                    found.aliases.extend(names);
                }
                "hal" => {
                    attribute.meta.require_path_only()?;
                    found.hal = true;
                }
                "returns" => found.returns = Some(attribute.parse_args()?),
                "internal" => internal = true,
                other => {
                    if other == "doc" && found.summary.is_empty() {
                        found.summary = doc_line(&attribute).unwrap_or_default();
                    }
                    if other == "cfg" {
                        found.conditions.push(attribute.clone());
                    }
                    kept.push(attribute);
                    continue;
                }
            }
            if name != "internal" {
                ours = Some(attribute.span());
            }
        }
        function.attrs = kept;
        let export = takes_machine(function);
        if let (Some(span), true) = (ours, internal || !export) {
            return Err(Error::new(
                span,
                "only an export can carry this attribute: a function whose first parameter is `cx: &mut Machine` and that is not #[internal]",
            ));
        }
        Ok((export && !internal).then_some(found))
    }

    fn judge(&mut self, name: &str, attribute: &Attribute) -> Result<()> {
        if self.fidelity.is_some() {
            return Err(Error::new_spanned(
                attribute,
                "a routine is either #[partial] or #[assumed]: put both reasons into one text",
            ));
        }
        let reason = one_string(attribute)?;
        let variant = if name == "partial" {
            quote!(Partial)
        } else {
            quote!(Assumed)
        };
        self.fidelity = Some(quote!(::ring3_nt::export::Fidelity::#variant(#reason)));
        Ok(())
    }

    /// One element of the table.
    fn entry(self, module: &LitStr, function: &ImplItemFn) -> Result<TokenStream> {
        let name = &function.sig.ident;
        let spelled = name.unraw().to_string();
        if !function.sig.generics.params.is_empty() || function.sig.asyncness.is_some() {
            return Err(Error::new_spanned(
                &function.sig.generics,
                format!("`{spelled}` is an export: it can be neither generic nor async"),
            ));
        }
        let Some(irql) = self.irql else {
            return Err(Error::new_spanned(
                name,
                format!(
                    "`{spelled}` does not say at which IRQL it may be called: add #[irql(..=DISPATCH_LEVEL)], #[irql(PASSIVE_LEVEL)] or #[irql(any)], as its documentation page has it"
                ),
            ));
        };
        let parameters = parameters(function)?;
        let mut decode = Vec::new();
        let mut values = Vec::new();
        let mut arguments = Vec::new();
        for (index, (argument, ty)) in parameters.iter().enumerate() {
            let value = format_ident!("argument_{index}", span = Span::mixed_site());
            let shown = text::of_type(ty);
            decode.push(quote_spanned! {ty.span()=>
                let #value: #ty = match <#ty as ::ring3_nt::export::GuestArg>::take(cx, call, #index) {
                    ::core::result::Result::Ok(value) => value,
                    ::core::result::Result::Err(fault) => return ::ring3_nt::flow::IntoFlow::into_flow(fault),
                };
            });
            arguments.push(quote_spanned! {ty.span()=>
                ::ring3_nt::export::Arg {
                    name: #argument,
                    ty: #shown,
                    show: <#ty as ::ring3_nt::export::GuestArg>::show,
                }
            });
            values.push(value);
        }
        let call = if parameters.is_empty() {
            quote!(_)
        } else {
            quote!(call)
        };
        let ret = self.returns.unwrap_or_else(|| seen_result(function));
        let ret_text = text::of_type(&ret);
        let fidelity = self
            .fidelity
            .unwrap_or_else(|| quote!(::ring3_nt::export::Fidelity::Full));
        let (page, aliases, hal, summary) = (self.page, self.aliases, self.hal, self.summary);
        let conditions = self.conditions;
        Ok(quote! {
            #(#conditions)*
            ::ring3_nt::export::Export {
                module: #module,
                name: #spelled,
                aliases: &[#(#aliases),*],
                hal: #hal,
                summary: #summary,
                page: #page,
                irql: #irql,
                fidelity: #fidelity,
                args: &[#(#arguments),*],
                ret: ::ring3_nt::export::RetDecl {
                    ty: #ret_text,
                    show: <#ret as ::ring3_nt::export::GuestRet>::show,
                },
                call: |cx: &mut ::ring3_nt::Machine, #call: &::ring3_nt::export::Call| -> ::ring3_nt::flow::Flow {
                    #(#decode)*
                    ::ring3_nt::flow::IntoFlow::into_flow(Self::#name(cx #(, #values)*))
                },
            }
        })
    }
}

/// `#[irql(..)]` as an `IrqlRange`.
struct Range(TokenStream);

impl Parse for Range {
    fn parse(input: ParseStream) -> Result<Self> {
        let lowest = quote!(::ring3_nt::export::irql::PASSIVE_LEVEL);
        let highest = quote!(::ring3_nt::export::irql::HIGH_LEVEL);
        let (min, max) = if input.peek(Token![..=]) {
            input.parse::<Token![..=]>()?;
            (lowest, level(input)?)
        } else {
            if input.is_empty() {
                return Err(Error::new(input.span(), "say a level, a range or `any`"));
            }
            if input
                .fork()
                .parse::<Ident>()
                .is_ok_and(|name| name == "any")
            {
                input.parse::<Ident>()?;
                (lowest, highest)
            } else {
                let min = level(input)?;
                if input.peek(Token![..=]) {
                    input.parse::<Token![..=]>()?;
                    (min, level(input)?)
                } else if input.peek(Token![..]) {
                    input.parse::<Token![..]>()?;
                    (min, highest)
                } else {
                    (min.clone(), min)
                }
            }
        };
        Ok(Range(
            quote!(::ring3_nt::export::IrqlRange { min: #min, max: #max }),
        ))
    }
}

fn level(input: ParseStream) -> Result<TokenStream> {
    let name: Ident = input.parse()?;
    if LEVELS.iter().any(|known| name == known) {
        return Ok(quote!(::ring3_nt::export::irql::#name));
    }
    Err(Error::new(
        name.span(),
        format!("`{name}` is no IRQL; known are {}", LEVELS.join(", ")),
    ))
}

fn one_string(attribute: &Attribute) -> Result<LitStr> {
    attribute.parse_args().map_err(|e| {
        let name = attribute.path().get_ident().map(Ident::to_string);
        Error::new(
            e.span(),
            format!("expected one text: #[{}(\"..\")]", name.unwrap_or_default()),
        )
    })
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let Expr::Lit(ExprLit {
        lit: Lit::Str(text),
        ..
    }) = &pair.value
    else {
        return None;
    };
    Some(text.value().trim().to_string())
}

/// Whether the first parameter is `&mut Machine`.
fn takes_machine(function: &ImplItemFn) -> bool {
    let Some(FnArg::Typed(first)) = function.sig.inputs.first() else {
        return false;
    };
    matches!(&*first.ty, Type::Reference(r) if r.mutability.is_some() && last_name(&r.elem).is_some_and(|n| n == "Machine"))
}

fn last_name(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|s| &s.ident),
        Type::Paren(inner) => last_name(&inner.elem),
        Type::Group(inner) => last_name(&inner.elem),
        _ => None,
    }
}

/// Names and types of the guest's arguments. A leading underscore (unused by the model) is not part of the name.
fn parameters(function: &ImplItemFn) -> Result<Vec<(String, Type)>> {
    let mut found = Vec::new();
    let count = function.sig.inputs.len();
    for (position, input) in function.sig.inputs.iter().enumerate().skip(1) {
        let FnArg::Typed(parameter) = input else {
            continue;
        };
        let Pat::Ident(name) = &*parameter.pat else {
            return Err(Error::new_spanned(
                &parameter.pat,
                "name this parameter as the documentation does: the trace prints the name",
            ));
        };
        if last_name(&parameter.ty).is_some_and(|n| n == "VarArgs") && position + 1 != count {
            return Err(Error::new_spanned(
                parameter,
                "`VarArgs` stands for the variable arguments: it has to be the last parameter",
            ));
        }
        let text = name.ident.unraw().to_string();
        let text = text.trim_start_matches('_').to_string();
        found.push((text, (*parameter.ty).clone()));
    }
    Ok(found)
}

/// The type that the driver sees: the declared one, or what is inside `Result`.
fn seen_result(function: &ImplItemFn) -> Type {
    let ReturnType::Type(_, ty) = &function.sig.output else {
        return syn::parse_quote!(());
    };
    if let Type::Path(path) = &**ty
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let PathArguments::AngleBracketed(list) = &last.arguments
        && let Some(GenericArgument::Type(inner)) = list.args.first()
    {
        return inner.clone();
    }
    (**ty).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(attribute: &str, functions: &str) -> Vec<String> {
        let attribute: TokenStream = attribute.parse().expect("attribute tokens");
        let item: TokenStream = format!("impl Events {{ {functions} }}")
            .parse()
            .expect("item tokens");
        match expand(attribute, item) {
            Ok(_) => Vec::new(),
            Err(all) => all.into_iter().map(|e| e.to_string()).collect(),
        }
    }

    fn one(functions: &str) -> String {
        errors_of("\"ntoskrnl.exe\"", functions).join("\n")
    }

    #[test]
    fn no_routine_forgets_its_irql() {
        let errors = errors_of(
            "\"ntoskrnl.exe\"",
            "fn KeA(cx: &mut Machine) {} fn helper(x: u32) {} fn KeB(cx: &mut Machine) -> u64 { 0 }",
        );
        assert_eq!(errors.len(), 2);
        assert!(errors[0].starts_with("`KeA` does not say at which IRQL"));
        assert!(errors[1].starts_with("`KeB` does not say at which IRQL"));
    }

    #[test]
    fn levels_are_known_by_name() {
        assert!(
            one("#[irql(..=LOW_LEVEL)] fn KeA(cx: &mut Machine) {}").starts_with(
                "`LOW_LEVEL` is no IRQL; known are PASSIVE_LEVEL, APC_LEVEL, DISPATCH_LEVEL, DIRQL"
            )
        );
        assert_eq!(
            one("#[irql()] fn KeA(cx: &mut Machine) {}"),
            "say a level, a range or `any`"
        );
        assert_eq!(one("#[irql(any)] fn KeA(cx: &mut Machine) {}"), "");
    }

    #[test]
    fn declarations_are_checked() {
        for (functions, message) in [
            (
                "#[irql(any)] #[partial(\"a\")] #[assumed(\"b\")] fn KeA(cx: &mut Machine) {}",
                "a routine is either #[partial] or #[assumed]",
            ),
            (
                "#[irql(any)] #[partial] fn KeA(cx: &mut Machine) {}",
                "expected one text: #[partial(\"..\")]",
            ),
            (
                "#[irql(any)] fn KeA(cx: &mut Machine, v: VarArgs, x: u32) {}",
                "`VarArgs` stands for the variable arguments: it has to be the last parameter",
            ),
            (
                "#[irql(any)] fn KeA(cx: &mut Machine, (a, b): (u32, u32)) {}",
                "name this parameter as the documentation does",
            ),
            (
                "#[irql(any)] fn KeA<T>(cx: &mut Machine, t: T) {}",
                "`KeA` is an export: it can be neither generic nor async",
            ),
            (
                "#[irql(any)] fn KeA(x: u32) {}",
                "only an export can carry this attribute",
            ),
            (
                "#[internal] #[hal] fn KeA(cx: &mut Machine) {}",
                "only an export can carry this attribute",
            ),
        ] {
            assert!(
                one(functions).starts_with(message),
                "{functions}: {}",
                one(functions)
            );
        }
        assert!(errors_of("", "").concat().starts_with("name the module"));
    }

    #[test]
    fn a_trait_or_a_generic_type_has_no_exports() {
        for item in ["impl T for Events {}", "impl<X> Events<X> {}"] {
            let item: TokenStream = item.parse().expect("tokens");
            assert!(expand(quote!("ntoskrnl.exe"), item).is_err());
        }
    }
}
