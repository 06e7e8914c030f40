# What gdb knows of the variables of every frame, as JSON in the file that HANGSNAP_ORACLE names.
# Read by `gdb -p PID -x frames.py`. Python's own types say what a value is, so that no text of gdb's
# has to be taken apart but that of its printers for the standard libraries.
import gdb, json, os

MOST = 200


def tree(value, depth=0):
    try:
        if value.is_optimized_out:
            return {"kind": "optimized-out"}
        kind = value.type.strip_typedefs()
        printer = gdb.default_visualizer(value)
        if printer is not None and not hasattr(printer, "children"):
            return printed(printer, value)
        if printer is not None:
            return with_children(printer, value, depth)
        return plain(value, kind, depth)
    except Exception as error:
        return {"kind": "error", "value": str(error)}


def printed(printer, value):
    text = printer.to_string()
    if isinstance(text, gdb.Value):
        return tree(text)
    if hasattr(text, "lazy_string") or type(text).__name__ == "LazyString":
        text = text.value().string(length=text.length)
    hint = printer.display_hint() if hasattr(printer, "display_hint") else None
    return {"kind": "string" if hint == "string" else "printed", "value": str(text)}


def with_children(printer, value, depth):
    hint = printer.display_hint() if hasattr(printer, "display_hint") else None
    if hint == "string":
        return printed(printer, value)
    children = []
    for name, child in printer.children():
        if len(children) >= MOST:
            break
        child = child if isinstance(child, gdb.Value) else gdb.Value(child)
        children.append([str(name), tree(child, depth + 1)])
    text = printer.to_string() if hasattr(printer, "to_string") else None
    return {"kind": "printer", "hint": hint, "name": str(text), "children": children}


def plain(value, kind, depth):
    code = kind.code
    scalar = code not in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION)
    # Of a part of a variable that is kept in pieces nothing else says so.
    if scalar and "<optimized out>" in value.format_string():
        return {"kind": "optimized-out"}
    if code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR):
        return {"kind": "number", "value": str(int(value)), "character": kind.name in ("char", "signed char", "unsigned char")}
    if code == gdb.TYPE_CODE_BOOL:
        # One that was never set may be neither.
        if int(value) > 1:
            return {"kind": "number", "value": str(int(value))}
        return {"kind": "bool", "value": bool(int(value))}
    if code == gdb.TYPE_CODE_FLT:
        return {"kind": "float", "value": value.format_string()}
    if code == gdb.TYPE_CODE_ENUM:
        return {"kind": "enum", "value": value.format_string()}
    if code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        if "synthetic pointer" in value.format_string():
            return {"kind": "synthetic", "value": tree(value.dereference(), depth + 1)}
        if code == gdb.TYPE_CODE_PTR:
            address = int(value)
            target = kind.target().strip_typedefs()
        else:
            address = int(value.referenced_value().address)
            target = None
        found = {"kind": "pointer", "value": hex(address & 0xFFFFFFFFFFFFFFFF)}
        if target is not None and target.name in ("char", "signed char", "unsigned char") and address:
            try:
                found["text"] = value.string("latin-1", "replace")[:MOST]
            except (gdb.error, gdb.MemoryError):
                pass
        return found
    if code == gdb.TYPE_CODE_ARRAY:
        first, last = kind.range()
        target = kind.target().strip_typedefs()
        if target.name in ("char", "signed char", "unsigned char"):
            codes = []
            for at in range(first, min(last + 1, first + MOST)):
                if "<optimized out>" in value[at].format_string():
                    break
                codes.append(int(value[at]) & 255)
            if not codes:
                return {"kind": "optimized-out"}
            end = codes.index(0) if 0 in codes else len(codes)
            return {"kind": "string", "value": bytes(codes[:end]).decode("latin-1")}
        elements = [tree(value[at], depth + 1) for at in range(first, min(last + 1, first + MOST))]
        return {"kind": "array", "count": last - first + 1, "elements": elements}
    if code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        if depth > 8:
            return {"kind": "deep"}
        text = value.format_string(max_elements=MOST, repeat_threshold=0)
        if kind.dynamic:
            return {"kind": "variant", "value": text}
        fields = []
        for field in kind.fields():
            if hasattr(field, "bitpos") or field.is_base_class:
                fields.append([field.name or "", tree(value[field], depth + 1)])
        return {"kind": "record", "fields": fields, "value": text}
    return {"kind": "other", "value": value.format_string()}


def variables(frame):
    found = []
    try:
        block = frame.block()
    except RuntimeError:
        return found
    while block is not None:
        for symbol in block:
            if symbol.name in os.environ.get("HANGSNAP_LEFT_OUT", "").split():
                continue
            if symbol.is_variable or symbol.is_argument:
                try:
                    value = tree(symbol.value(frame))
                except Exception as error:
                    value = {"kind": "error", "value": str(error)}
                found.append({"name": symbol.name, "argument": symbol.is_argument, "static": symbol.addr_class == gdb.SYMBOL_LOC_STATIC, "value": value})
        if block.function is not None:
            break
        block = block.superblock
    return found


result = []
gdb.execute("set print elements 200")
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frames = []
    frame = gdb.newest_frame()
    while frame is not None:
        # The sizes of arrays may depend on the frame that is selected.
        frame.select()
        name = frame.name()
        frames.append({
            "function": name, "pc": hex(frame.pc()), "kind": frame.type(), "variables": variables(frame),
        })
        try:
            frame = frame.older()
        except gdb.error:
            break
    result.append({"tid": thread.ptid[1], "frames": frames})
with open(os.environ["HANGSNAP_ORACLE"], "w") as out:
    json.dump(result, out)
