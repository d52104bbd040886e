/**
 * Throws unless the text is one well-formed XML element: tags nest and close, attributes are quoted and named once,
 * no bare `<` or `&`. Strict where an HTML parser mends.
 */
export function checkXml(text: string): void {
  const open: string[] = [];
  let rest = text.trim();
  let roots = 0;
  while (rest !== '') {
    const tag = /^<(\/?)([A-Za-z][\w:-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/.exec(rest);
    const content = /^[^<]+/.exec(rest);
    if (tag) {
      const [all, closing, name, attributes, empty] = tag as unknown as [
        string,
        string,
        string,
        string,
        string,
      ];
      checkEntities(attributes);
      const names = [...attributes.matchAll(/\s([\w:-]+)="[^"]*"/g)].map((match) => match[1]);
      if (new Set(names).size < names.length) throw new Error(`an attribute twice in ${all}`);
      if (open.length === 0 && ++roots > 1) throw new Error('more than one root');
      if (closing) {
        const expected = open.pop();
        if (expected !== name) throw new Error(`</${name}> where </${expected}> belongs`);
        if (open.length === 0) roots = 1;
      } else if (!empty) open.push(name);
      rest = rest.slice(all.length);
    } else if (content && open.length > 0) {
      checkEntities(content[0]);
      rest = rest.slice(content[0].length);
    } else throw new Error(`not well-formed at: ${rest.slice(0, 80)}`);
  }
  if (open.length > 0 || roots !== 1) throw new Error(`not closed: ${open.join(', ')}`);
}

function checkEntities(text: string): void {
  const bare = /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-f]+);)/i.exec(text);
  if (bare) throw new Error(`bare & in ${text.slice(bare.index, bare.index + 40)}`);
}
