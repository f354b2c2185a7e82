import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { unpickle, type UnpickleOptions } from "./pickle.ts";
import { OpaqueObject, PyDict, PyFloat, PyGlobal, PyTuple, type PyValue } from "./pickle_values.ts";
import { TORCH_GLOBALS } from "./torch_globals.ts";

type Part = string | number[];

/** A pickle from opcodes: text stands for its bytes. */
function bytes(...parts: Part[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "string" ? Array.from(part, (char) => char.charCodeAt(0)) : part
    ),
  );
}

function load(parts: Part[], options: Partial<UnpickleOptions> = {}): PyValue {
  return unpickle(bytes(...parts), { name: "f", globals: TORCH_GLOBALS, ...options });
}

function codeOf(parts: Part[], options: Partial<UnpickleOptions> = {}): string {
  return assertThrows(() => load(parts, options), InputError, '"f"').code;
}

Deno.test("numbers keep their kind and size", () => {
  assertEquals(load(["K\xff."]), 255);
  assertEquals(load(["M\x01\x02."]), 0x201);
  assertEquals(load(["J\xfe\xff\xff\xff."]), -2);
  assertEquals(load(["\x8a\x00."]), 0);
  assertEquals(load(["\x8a\x01\x80."]), -128);
  assertEquals(load(["\x8a\x08\x01\x00\x00\x00\x00\x00\x20\x00."]), 2n ** 53n + 1n);
  assertEquals(load(["\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x80."]), -(2n ** 71n));
  const float = load(["G\x40\x00\x00\x00\x00\x00\x00\x00."]);
  assert(float instanceof PyFloat);
  assertEquals(float.value, 2);
});

Deno.test("collections, marks and the memo", () => {
  assertEquals(load(["(K\x01K\x02l."]), [1, 2]);
  assertEquals(load(["](K\x01K\x02eK\x03a."]), [1, 2, 3]);
  assertEquals(load(["\x8f(K\x01K\x01\x90."]), new Set([1]));
  const dict = load(["}(K\x01U\x01aK\x02U\x01bu."]);
  assert(dict instanceof PyDict && !dict.ordered);
  assertEquals([...dict], [[1, "a"], [2, "b"]]);
  const twice = load(["](]q\x07h\x07e."]) as PyValue[];
  assert(twice[0] === twice[1]);
  const self = load(["]q\x00h\x00a."]) as PyValue[];
  assert(self[0] === self);
  assertEquals(load(["(K\x01K\x021K\x05."]), 5);
  assertEquals(load(["K\x05(0."]), 5);
});

Deno.test("known classes become values", () => {
  const ordered = load(["ccollections\nOrderedDict\n](](K\x01K\x02ee\x85R."]);
  assert(ordered instanceof PyDict && ordered.ordered);
  assertEquals(ordered.get(1), 2);
  assertEquals(
    load(["c_codecs\nencode\nX\x03\x00\x00\x00a\xc3\xbfX\x06\x00\x00\x00latin1\x86R."]),
    Uint8Array.of(97, 255),
  );
  assertEquals(load(["c__builtin__\nset\n](K\x01K\x02e\x85R."]), new Set([1, 2]));
});

Deno.test("classes that are not known are refused by name before anything is built", () => {
  const refuse = (parts: Part[], name: string) => {
    const error = assertThrows(() => load(parts), InputError, name);
    assertEquals(error.code, "UNSAFE_GLOBAL");
  };
  refuse(["cos\nsystem\n(X\x02\x00\x00\x00lstR."], "os.system");
  refuse(["K\x01cposix\nsystem\n0."], "posix.system");
  refuse(["\x8c\x02os\x8c\x06system\x93."], "os.system");
  refuse(["(ios\nsystem\n."], "os.system");
  refuse(["ctorch._utils\n_rebuild_tensor\n."], "torch._utils._rebuild_tensor");
  // Even when the pickle is broken before it comes to the class.
  refuse(["0cos\nsystem\n."], "os.system");
});

Deno.test("unknown classes can be kept as inert values", () => {
  const value = load(["cmy.opt\nSGD\n)\x81}X\x02\x00\x00\x00lrK\x05sb."], {
    unknownClasses: "opaque",
  });
  assert(value instanceof OpaqueObject && value.type instanceof PyGlobal);
  assertEquals([value.type.module, value.type.name, value.type.construct], [
    "my.opt",
    "SGD",
    undefined,
  ]);
  assert(value.state instanceof PyDict);
  assertEquals(value.state.get("lr"), 5);
  const call = load(["cos\nsystem\nX\x01\x00\x00\x00x\x85R(K\x01K\x02uK\x03a."], {
    unknownClasses: "opaque",
  });
  assert(call instanceof OpaqueObject);
  assertEquals([call.args, call.entries, call.items], [["x"], [[1, 2]], [3]]);
});

Deno.test("broken pickles are refused", () => {
  for (
    const [pickle, code] of [
      ["", "PICKLE_TRUNCATED"],
      ["K", "PICKLE_TRUNCATED"],
      ["K\x01", "PICKLE_TRUNCATED"],
      ["X\xff\xff\xff\xff.", "PICKLE_TRUNCATED"],
      ["\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "PICKLE_TRUNCATED"],
      ["\x80\x04\x95\xff\x00\x00\x00\x00\x00\x00\x00K\x01.", "PICKLE_TRUNCATED"],
      ["ccollections\nOrd", "PICKLE_TRUNCATED"],
      [".", "INVALID_PICKLE"],
      ["\x80\x09K\x01.", "INVALID_PICKLE"],
      ["\xfe.", "INVALID_PICKLE"],
      ["K\x01t.", "INVALID_PICKLE"],
      ["(a.", "INVALID_PICKLE"],
      ["}(K\x01u.", "INVALID_PICKLE"],
      ["K\x01K\x02a.", "INVALID_PICKLE"],
      ["h\x05.", "INVALID_PICKLE"],
      ["K\x01)R.", "INVALID_PICKLE"],
      ["K\x01Q.", "INVALID_PICKLE"],
      ["}}b.", "INVALID_PICKLE"],
      ["U\x01\xff.", "INVALID_PICKLE"],
      ["c" + "a".repeat(5000) + "\nb\n.", "INVALID_PICKLE"],
      ["ccollections\nOrderedDict\nK\x01\x85R.", "INVALID_PICKLE"],
      ["ctorch._utils\n_rebuild_tensor_v2\n)R.", "INVALID_PICKLE"],
      ["\x8b\x00\x20\x00\x00" + "\x01".repeat(0x2000) + ".", "INVALID_PICKLE"],
    ] as const
  ) assertEquals(codeOf([pickle]), code, JSON.stringify(pickle.slice(0, 40)));
});

Deno.test("small pickles cannot copy large collections over and over", () => {
  const many = "K\x01".repeat(50_000);
  const copies = "c__builtin__\nlist\nh\x00\x85R0".repeat(1000);
  assertEquals(codeOf([`](${many}eq\x000${copies}K\x01.`]), "INVALID_PICKLE");
});

Deno.test("deep nesting needs no stack", () => {
  let value = load(["]".repeat(100_000) + "a".repeat(99_999) + "."]);
  for (let depth = 1; depth < 100_000; depth++) value = (value as PyValue[])[0];
  assertEquals(value, []);
  assert(load([")" + "\x85".repeat(100_000) + "."]) instanceof PyTuple);
});
