package qtap.jsse;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.Map;

/**
 * A class file (JVM specification §4) whose methods get code before their first instruction. What was there keeps its distances, so that only what counts from a
 * method's beginning has to be moved: exception tables, line numbers, and the first stack map frame.
 *
 * <p>In: a class file. Out: another. A class file that breaks the format, or lacks one of the methods, makes an exception of any kind.
 */
final class ClassFile {
    private static final String CALLS = "qtap/jsse/Calls";

    private final byte[] of;
    /** Where each constant begins. */
    private final int[] constants;
    private final int constantsEnd;
    private final Output added = new Output();
    private int count;

    ClassFile(byte[] of) {
        this.of = of;
        count = u2(8);
        constants = new int[count];
        int at = 10;
        for (int index = 1; index < constants.length; index++) {
            constants[index] = at;
            at += constant(at);
            if (of[constants[index]] == 5 || of[constants[index]] == 6) {
                // Long and Double take two entries.
                index++;
            }
        }
        constantsEnd = at;
    }

    byte[] with(Map<String, Method> methods) throws IOException {
        Output body = new Output();
        int fields = constantsEnd + 8 + 2 * u2(constantsEnd + 6);
        int at = fields + 2;
        for (int left = u2(fields); left > 0; left--) {
            at = memberEnd(at);
        }
        int members = u2(at);
        at += 2;
        body.write(of, constantsEnd, at - constantsEnd);
        int changed = 0;
        for (int left = members; left > 0; left--) {
            int end = memberEnd(at);
            Method method = methods.get(text(u2(at + 2)) + text(u2(at + 4)));
            if (method == null) {
                body.write(of, at, end - at);
            } else {
                member(body, at, method);
                changed++;
            }
            at = end;
        }
        body.write(of, at, of.length - at);
        if (changed < methods.size()) {
            throw new IOException("not the methods that are known");
        }
        Output whole = new Output();
        whole.write(of, 0, 8);
        whole.u2(count);
        whole.write(of, 10, constantsEnd - 10);
        whole.all(added);
        whole.all(body);
        return whole.bytes();
    }

    private void member(Output out, int at, Method method) throws IOException {
        out.write(of, at, 8);
        int left = u2(at + 6);
        for (at += 8; left > 0; left--) {
            int length = 6 + u4(at + 2);
            if (text(u2(at)).equals("Code")) {
                code(out, at, method);
            } else {
                out.write(of, at, length);
            }
            at += length;
        }
    }

    /** The Code attribute (§4.7.3) with the call before it. */
    private void code(Output out, int at, Method method) throws IOException {
        Prefix prefix = new Prefix(method);
        int length = u4(at + 10);
        Output code = new Output();
        code.u2(Math.max(u2(at + 6), method.arguments + 2));
        code.u2(u2(at + 8));
        code.u4(length + prefix.length());
        code.all(prefix.code);
        code.write(of, at + 14, length);
        int table = at + 14 + length;
        int handlers = u2(table);
        code.u2(handlers);
        for (table += 2; handlers > 0; handlers--, table += 8) {
            for (int field = 0; field < 6; field += 2) {
                code.u2(u2(table + field) + prefix.length());
            }
            code.u2(u2(table + 6));
        }
        Output attributes = new Output();
        int kept = 1;
        int frames = 0;
        int left = u2(table);
        for (table += 2; left > 0; left--) {
            int size = u4(table + 2);
            String name = text(u2(table));
            if (name.equals("StackMapTable")) {
                frames = table;
            } else if (name.equals("LineNumberTable")) {
                lines(attributes, table, prefix.length());
                kept++;
            }
            // Names and annotations of local variables are for debuggers, and left out.
            table += 6 + size;
        }
        frames(attributes, frames, prefix);
        code.u2(kept);
        code.all(attributes);
        out.u2(u2(at));
        out.u4(code.size());
        out.all(code);
    }

    /** LineNumberTable (§4.7.12). */
    private void lines(Output out, int at, int moved) throws IOException {
        out.write(of, at, 8);
        int left = u2(at + 6);
        for (at += 8; left > 0; left--, at += 4) {
            out.u2(u2(at) + moved);
            out.u2(u2(at + 2));
        }
    }

    /** StackMapTable (§4.7.4): one more frame, where the prefix goes on to the method's own code; the next one counts from there. */
    private void frames(Output out, int at, Prefix prefix) throws IOException {
        Output frames = new Output();
        frames.u2(1 + (at == 0 ? 0 : u2(at + 6)));
        prefix.frame(frames);
        if (at != 0 && u2(at + 6) > 0) {
            int first = at + 8;
            int type = of[first] & 0xff;
            int between = prefix.length() - prefix.goesOn - 1;
            if (type < 64) {
                // same_frame, as same_frame_extended
                frames.u1(251);
                frames.u2(type + between);
                first += 1;
            } else if (type < 128) {
                // same_locals_1_stack_item_frame, as the extended one
                frames.u1(247);
                frames.u2(type - 64 + between);
                first += 1;
            } else {
                frames.u1(type);
                frames.u2(u2(first + 1) + between);
                first += 3;
            }
            frames.write(of, first, at + 6 + u4(at + 2) - first);
        }
        out.u2(at == 0 ? addText("StackMapTable") : u2(at));
        out.u4(frames.size());
        out.all(frames);
    }

    /** The call, and what its answer decides. Its length is a multiple of four, which the switches behind it are aligned to (§6.5, tableswitch). */
    private final class Prefix {
        final Method method;
        final Output code = new Output();
        /** Where it goes on to the method's own code. */
        final int goesOn;

        Prefix(Method method) throws IOException {
            this.method = method;
            code.write(method.loads, 0, method.loads.length);
            // invokestatic
            code.u1(0xb8);
            code.u2(addMethod(CALLS, method.call, method.descriptor));
            switch (method.answer) {
                case NUMBER:
                    // dup, bipush OWN, if_icmpeq +4, ireturn; pop
                    code.bytes(0x59, 0x10, Calls.OWN, 0x9f, 0, 4, 0xac);
                    goesOn = code.size();
                    code.u1(0x57);
                    break;
                case DONE:
                    // ifeq +4, return
                    code.bytes(0x99, 0, 4, 0xb1);
                    goesOn = code.size();
                    break;
                default:
                    // dup, ifnull +4, areturn; pop
                    code.bytes(0x59, 0xc6, 0, 4, 0xb0);
                    goesOn = code.size();
                    code.u1(0x57);
            }
            while (code.size() % 4 != 0) {
                // nop
                code.u1(0);
            }
        }

        int length() {
            return code.size();
        }

        /** The frame at {@link #goesOn}: the method's arguments and, but for a boolean, the answer on the stack. */
        void frame(Output frames) throws IOException {
            frames.u1(method.answer == Method.Answer.DONE ? 251 : 247);
            frames.u2(goesOn);
            if (method.answer == Method.Answer.NUMBER) {
                frames.u1(1);
            } else if (method.answer == Method.Answer.OBJECT) {
                frames.u1(7);
                frames.u2(addClass(Method.RESULT));
            }
        }
    }

    private int addText(String text) throws IOException {
        added.u1(1);
        added.data.writeUTF(text);
        return count++;
    }

    private int addClass(String name) throws IOException {
        int text = addText(name);
        added.u1(7);
        added.u2(text);
        return count++;
    }

    private int addMethod(String of, String name, String descriptor) throws IOException {
        int owner = addClass(of);
        int[] texts = {addText(name), addText(descriptor)};
        added.u1(12);
        added.u2(texts[0]);
        added.u2(texts[1]);
        int signature = count++;
        added.u1(10);
        added.u2(owner);
        added.u2(signature);
        return count++;
    }

    /** Bytes of the constant at `at` (§4.4). */
    private int constant(int at) {
        switch (of[at]) {
            case 1:
                return 3 + u2(at + 1);
            case 7:
            case 8:
            case 16:
            case 19:
            case 20:
                return 3;
            case 15:
                return 4;
            case 5:
            case 6:
                return 9;
            default:
                return 5;
        }
    }

    private int memberEnd(int at) {
        int left = u2(at + 6);
        for (at += 8; left > 0; left--) {
            at += 6 + u4(at + 2);
        }
        return at;
    }

    private String text(int index) throws IOException {
        int at = constants[index] + 1;
        return new DataInputStream(new ByteArrayInputStream(of, at, 2 + u2(at))).readUTF();
    }

    private int u2(int at) {
        return (of[at] & 0xff) << 8 | of[at + 1] & 0xff;
    }

    private int u4(int at) {
        return u2(at) << 16 | u2(at + 2);
    }

    /** Bytes that are written, numbers big-endian. */
    private static final class Output {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        final DataOutputStream data = new DataOutputStream(bytes);

        void u1(int value) throws IOException {
            data.writeByte(value);
        }

        void u2(int value) throws IOException {
            data.writeShort(value);
        }

        void u4(int value) throws IOException {
            data.writeInt(value);
        }

        void bytes(int... values) throws IOException {
            for (int value : values) {
                data.writeByte(value);
            }
        }

        void write(byte[] from, int offset, int length) throws IOException {
            data.write(from, offset, length);
        }

        void all(Output other) throws IOException {
            other.bytes.writeTo(data);
        }

        int size() {
            return bytes.size();
        }

        byte[] bytes() {
            return bytes.toByteArray();
        }
    }
}
