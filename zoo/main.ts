import { parseArgs } from "@std/cli";
console.log(parseArgs(Deno.args));
