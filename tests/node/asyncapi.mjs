// Checks an AsyncAPI document and what it refers to. Prints it as JSON, or what is wrong with it.

import { Parser, fromFile } from '@asyncapi/parser';

const parser = new Parser();
const { document, diagnostics } = await fromFile(parser, process.argv[2]).parse();
// Severity 0 is an error, 1 a warning; the others are advice.
const wrong = diagnostics.filter(({ severity }) => severity <= 1);
for (const { code, message, path } of wrong) console.error(`${path.join('.')}: ${message} (${code})`);
if (wrong.length > 0 || document === undefined) process.exit(1);
console.log(JSON.stringify(document.json()));
