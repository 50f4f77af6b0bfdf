// Answers each line of JSON on stdin with one on stdout, by mppx's own functions.
// Argument: the directory of the installed package.

import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const load = (name) => import(pathToFileURL(`${process.argv[2]}/dist/${name}.js`))
const [Challenge, Credential, Receipt] = await Promise.all(
  ['Challenge', 'Credential', 'Receipt'].map(load),
)

const operations = {
  // A 402's WWW-Authenticate, merged into one field as fetch() shows it.
  challenges: ({ fields }) => {
    const headers = new Headers()
    for (const field of fields) headers.append('www-authenticate', field)
    return Challenge.fromResponseList(new Response(null, { status: 402, headers }))
  },
  credential: ({ field, payload, source }) =>
    Credential.serialize(Credential.from({ challenge: Challenge.deserialize(field), payload, source })),
  receipt: ({ value }) =>
    Receipt.fromResponse(new Response(null, { headers: { 'payment-receipt': value } })),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...given } = JSON.parse(line)
  let answer
  try {
    answer = { result: operations[operation](given) }
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
