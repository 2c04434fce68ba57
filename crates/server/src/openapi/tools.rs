//! The requests of runs, one schema a tool, made from its form in the catalogue.

use serde_json::{Map, Value, json};
use tintype_catalog::{Decimals, Input, MAX_PROMPT_CHARS, Range, Role, Tool};

/// What every run takes besides the tool's own inputs: name and meaning.
const COMMON: [(&str, &str); 2] = [
    (
        "callbackUrl",
        "An absolute http or https address that is told when the task has ended, by a `POST` of what \
         `Task/Detail` answers, signed as Standard Webhooks has it. Anything else is passed over, with \
         a remark in the task's record.",
    ),
    (
        "projectid",
        "Passed over: the key says which project it is.",
    ),
];

/// How a run's fields arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON.
    Json,
    /// Multipart: the picture may be a part.
    Parts,
}

/// The inputs of one tool.
pub(super) fn inputs(tool: &Tool, form: Form) -> Value {
    let mut properties = Map::new();
    for input in &tool.inputs {
        properties.insert(input.id.clone(), property(input, form));
        for alias in &input.aliases {
            properties.insert(alias.clone(), other_name(input, form));
        }
    }
    for input in &tool.extras {
        properties.insert(input.id.clone(), extra(input, form));
        for alias in &input.aliases {
            properties.insert(alias.clone(), other_name(input, form));
        }
    }
    for (name, meaning) in COMMON {
        let property = json!({"type": "string", "description": meaning});
        properties.insert(name.to_owned(), property);
    }
    let required = tool.inputs.iter().filter(|input| input.required);
    let required: Vec<&str> = required.map(|input| input.id.as_str()).collect();
    json!({
        "type": "object",
        "description": tool.description,
        "required": required,
        "properties": properties,
    })
}

/// Something that runs as it is: the form's own defaults, with a prompt of ours.
pub(super) fn example(tool: &Tool) -> Value {
    let filled = tool.inputs.iter().filter_map(|input| {
        let value = match input.role {
            Role::Prompt if tool.inputs.iter().any(|input| input.role == Role::Image) => {
                "make the circle green"
            }
            Role::Prompt => "a red circle left of a blue square on a white background",
            Role::Image => "https://upload.example/circle.png",
            _ => &input.default,
        };
        (!value.is_empty()).then(|| (input.id.clone(), Value::from(value)))
    });
    Value::Object(filled.collect())
}

fn property(input: &Input, form: Form) -> Value {
    let mut schema = of_role(input, form);
    schema.insert("title".to_owned(), input.label.as_str().into());
    schema.insert("description".to_owned(), description(input).into());
    // The default of a required input fills a form; a run without the input is refused.
    if !input.required {
        schema.insert("default".to_owned(), input.default.as_str().into());
    }
    Value::Object(schema)
}

/// A parameter of this service. One that does not come changes nothing, whatever fills the form.
fn extra(input: &Input, form: Form) -> Value {
    let mut property = property(input, form);
    property["description"] = format!("Additional, of this service. {}", description(input)).into();
    if let Value::Object(schema) = &mut property {
        schema.shift_remove("default");
    }
    property
}

fn other_name(input: &Input, form: Form) -> Value {
    let mut schema = of_role(input, form);
    let description = format!("Another name of `{}`.", input.id);
    schema.insert("description".to_owned(), description.into());
    Value::Object(schema)
}

fn of_role(input: &Input, form: Form) -> Map<String, Value> {
    let schema = match (input.role, input.range) {
        (role, _) if role.is_picture() && form == Form::Parts => {
            json!({"type": "string", "format": "binary"})
        }
        (Role::NegativePrompt, _) => json!({"type": "string", "maxLength": MAX_PROMPT_CHARS}),
        (Role::Prompt, _) => {
            json!({"type": "string", "minLength": 1, "maxLength": MAX_PROMPT_CHARS})
        }
        (_, Some(range)) => number(range),
        _ if !input.options.is_empty() => choice(input),
        _ => input.decimals.map_or(json!({"type": "string"}), decimal),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn number(range: Range) -> Value {
    let digits = range.max.to_string().len();
    json!({
        "type": ["string", "integer"],
        "pattern": format!("^[0-9]{{0,{digits}}}$"),
        "minimum": range.min,
        "maximum": range.max,
    })
}

fn decimal(range: Decimals) -> Value {
    json!({
        "type": ["string", "number"],
        "pattern": r"^([0-9]+(\.[0-9]+)?)?$",
        "minimum": range.min,
        "maximum": range.max,
    })
}

/// The options and other spellings of them; the empty text stands for the default.
fn choice(input: &Input) -> Value {
    let mut values: Vec<Value> = Vec::new();
    let words = input.options.iter().map(|choice| choice.value.as_str());
    for word in words
        .chain(input.synonyms.keys().map(String::as_str))
        .chain([""])
    {
        if !values.iter().any(|value| value == word) {
            values.push(word.into());
        }
    }
    json!({"type": "string", "enum": values})
}

/// With a full stop at its end.
pub(super) fn sentence(text: &str) -> String {
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{text}{stop}")
}

fn description(input: &Input) -> String {
    let mut text = match input.role {
        Role::Seed => {
            "Where the noise starts: the same seed gives the same picture. `\"\"` draws one, \
                       which the task's record then shows."
                .to_owned()
        }
        _ => sentence(&input.help),
    };
    let more = match input.role {
        role if role.is_picture() => {
            " An http or https address, the name of an uploaded file, a `data:` URI or bare base64; \
             empty for none. In a multipart body it may be a part with the file."
        }
        Role::AspectRatio if input.default.is_empty() => " `\"\"` takes the picture's own.",
        _ => "",
    };
    text.push_str(more);
    text
}
