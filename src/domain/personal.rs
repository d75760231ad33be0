//! Keeps customers' data out of errors: Walmart's texts may repeat what a request said.

use crate::pb::{Address, Contact, Order, PromiseRequest, WalmartError};

/// What stands in the place of personal data.
pub const REDACTED: &str = "[redacted]";

/// Texts shorter than this are replaced only as whole words: a state's two letters occur in half of all words.
const SHORT: usize = 3;
/// What a code of Walmart's is made of; anything else in its place may be a text.
const CODE_LENGTH: usize = 128;

/// Personal texts of a request.
#[derive(Debug, Default)]
pub struct Personal<'a>(Vec<&'a str>);

impl<'a> Personal<'a> {
    /// Of the customer and the recipients.
    pub fn of_order(order: &'a Order) -> Self {
        let mut texts = Vec::new();
        contact(order.customer.as_ref().and_then(|c| c.contact.as_ref()), &mut texts);
        for recipient in order.order_items.iter().filter_map(|item| item.shipping_to.as_ref()) {
            contact(recipient.contact.as_ref(), &mut texts);
            address(recipient.address.as_ref(), &mut texts);
        }
        Self::sorted(texts)
    }

    /// Of the destinations.
    pub fn of_promise(request: &'a PromiseRequest) -> Self {
        let mut texts = Vec::new();
        for destination in &request.destinations {
            address(destination.address.as_ref(), &mut texts);
        }
        Self::sorted(texts)
    }

    /// Longest first, so that no part of a text is left over when another text is a part of it.
    fn sorted(mut texts: Vec<&'a str>) -> Self {
        texts.retain(|text| !text.trim().is_empty());
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        texts.dedup();
        Self(texts)
    }

    /// Replaces every personal text in Walmart's.
    pub fn redact(&self, errors: &mut [WalmartError]) {
        for WalmartError { code, field, description, info, severity, category } in errors {
            for text in [code, severity, category] {
                *text = if is_code(text) { self.clean_code(text) } else { self.clean(text) };
            }
            for text in [field, description, info] {
                *text = self.clean(text);
            }
        }
    }

    fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, personal| {
            let whole_words = personal.chars().count() < SHORT;
            replace(&text, &text.to_ascii_lowercase(), &personal.to_ascii_lowercase(), whole_words)
        })
    }

    /// A code that callers act on must not depend on the customer's being called Price: only what stands in it as a
    /// word, letter by letter as in the request, is replaced.
    fn clean_code(&self, code: &str) -> String {
        let long = self.0.iter().filter(|personal| personal.chars().count() >= SHORT);
        long.fold(code.to_owned(), |code, personal| replace(&code, &code, personal, true))
    }
}

fn is_code(text: &str) -> bool {
    text.len() <= CODE_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
}

/// Replaces in `text` what is `needle` in `hay`, which is `text` in a form that has its letters in the same places.
fn replace(text: &str, hay: &str, needle: &str, whole_words: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, found) in hay.match_indices(needle) {
        let end = start + found.len();
        let is_part_of_word = || {
            let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            touches(hay[..start].chars().next_back()) || touches(hay[end..].chars().next())
        };
        if whole_words && is_part_of_word() {
            continue;
        }
        clean.push_str(&text[copied..start]);
        clean.push_str(REDACTED);
        copied = end;
    }
    clean.push_str(&text[copied..]);
    clean
}

fn contact<'a>(contact: Option<&'a Contact>, texts: &mut Vec<&'a str>) {
    let Some(contact) = contact else { return };
    let name = contact.name.as_ref();
    let all = [
        name.and_then(|n| n.first_name.as_deref()),
        name.and_then(|n| n.last_name.as_deref()),
        contact.phone.as_deref(),
        contact.email.as_deref(),
    ];
    texts.extend(all.into_iter().flatten());
}

fn address<'a>(address: Option<&'a Address>, texts: &mut Vec<&'a str>) {
    let Some(address) = address else { return };
    let all = [
        &address.line1,
        &address.line2,
        &address.city,
        &address.state,
        &address.country,
        &address.zip,
        &address.address_type,
        &address.address_line_one,
        &address.address_line_two,
        &address.state_code,
        &address.country_code,
        &address.postal_code,
    ];
    texts.extend(all.into_iter().filter_map(|text| text.as_deref()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::Name;

    fn error(description: &str) -> WalmartError {
        WalmartError { code: "INVALID_MCS_REQUEST".into(), description: description.into(), ..Default::default() }
    }

    fn ana() -> Contact {
        let name = Name { first_name: Some("Ana".into()), last_name: Some("Roe".into()) };
        Contact { name: Some(name), phone: Some("555-111-2222".into()), email: Some("ana@example.org".into()) }
    }

    fn order() -> Order {
        let customer = crate::pb::Customer { contact: Some(ana()) };
        let home = Address { line1: Some("12 Oak Ave".into()), state: Some("OK".into()), ..Default::default() };
        let shipping_to = crate::pb::ShippingTo { contact: Some(ana()), address: Some(home) };
        let item = crate::pb::OrderItem { shipping_to: Some(shipping_to), ..Default::default() };
        Order { customer: Some(customer), order_items: vec![item], ..Default::default() }
    }

    #[test]
    fn what_the_request_said_is_not_repeated() {
        let order = order();
        let mut errors = [error("ANA roe <ana@example.org> (555-111-2222), 12 Oak Ave, OK: bad zip")];
        Personal::of_order(&order).redact(&mut errors);
        assert_eq!(
            errors[0].description,
            "[redacted] [redacted] <[redacted]> ([redacted]), [redacted], [redacted]: bad zip"
        );
    }

    #[test]
    fn short_texts_are_replaced_as_words_only() {
        let order = order();
        let mut errors = [error("state OK is not OKAY, took BOOK; OK")];
        Personal::of_order(&order).redact(&mut errors);
        assert_eq!(errors[0].description, "state [redacted] is not OKAY, took BOOK; [redacted]");
    }

    #[test]
    fn codes_stay_and_texts_in_their_place_do_not() {
        let order = order();
        let mut errors = [error(""), WalmartError { code: "Bad name Ana".into(), ..Default::default() }];
        errors[0].code = "ANA.ROE".into();
        Personal::of_order(&order).redact(&mut errors);
        assert_eq!((errors[0].code.as_str(), errors[1].code.as_str()), ("ANA.ROE", "Bad name [redacted]"));
    }

    #[test]
    fn a_code_loses_what_the_request_said_letter_by_letter_only() {
        let mut order = order();
        let contact = order.customer.as_mut().unwrap().contact.as_mut().unwrap();
        contact.name.as_mut().unwrap().last_name = Some("Price".into());
        let mut errors = [error(""), error(""), error("")];
        errors[0].code = "INVALID_PRICE.GMP".into();
        errors[1].code = "NO_Price.555-111-2222:12Price".into();
        errors[2].code = "OK.400".into();
        Personal::of_order(&order).redact(&mut errors);
        assert_eq!(errors.map(|e| e.code), ["INVALID_PRICE.GMP", "NO_[redacted].[redacted]:12Price", "OK.400"]);
    }

    #[test]
    fn no_field_of_an_error_is_left_out() {
        let order = order();
        let said = || "of Ana, 555-111-2222".to_owned();
        let (code, field, description, info, severity, category) = (said(), said(), said(), said(), said(), said());
        let mut errors = [WalmartError { code, field, description, info, severity, category }];
        Personal::of_order(&order).redact(&mut errors);
        let clean = || "of [redacted], [redacted]".to_owned();
        let (code, field, description, info, severity, category) =
            (clean(), clean(), clean(), clean(), clean(), clean());
        assert_eq!(errors, [WalmartError { code, field, description, info, severity, category }]);
    }

    #[test]
    fn letters_of_any_script_stay_whole() {
        let mut order = order();
        order.customer.as_mut().unwrap().contact.as_mut().unwrap().name.as_mut().unwrap().first_name = Some("É".into());
        let mut errors = [error("Élan É, né É")];
        Personal::of_order(&order).redact(&mut errors);
        assert_eq!(errors[0].description, "Élan [redacted], né [redacted]");
    }
}
