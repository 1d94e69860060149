package qtap.jsse;

import java.io.FileInputStream;
import java.io.IOException;
import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.nio.channels.FileChannel;
import java.nio.file.NoSuchFileException;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.security.ProtectionDomain;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** While qtap lives: JSSE's classes are changed. When it ends, in whatever way, its end of a pipe is closed, and they are what they were. */
public final class Watch implements ClassFileTransformer, Runnable {
    /** Called or read by threads of the program: none of them may be the one that has to load and initialise them. */
    private static final String[] USED = {"Session", "Sessions", "Sessions$Key", "Sessions$Probe", "Channel", "Told", "Calls"};

    private static boolean isRunning;
    /** Of the archive that these classes are from. */
    private static String version;

    private final Instrumentation instrumentation;
    private final FileInputStream life;
    /** Methods that have their prefix. */
    private int methods;

    private Watch(Instrumentation instrumentation, FileInputStream life) {
        this.instrumentation = instrumentation;
        this.life = life;
    }

    /**
     * Options: the archive's path, the path of the pipe that qtap holds open, the mark in hexadecimal, the archive's version. If another qtap is here, or something
     * fails, nothing has changed, and nobody reads the pipe. Nor if another version of qtap was here: its classes stay, and they are these.
     */
    public static synchronized void start(String options, Instrumentation instrumentation) throws Exception {
        String[] parts = options.split(",");
        if (version == null) {
            version = parts[3];
        }
        if (isRunning || !version.equals(parts[3])) {
            return;
        }
        byte[] mark = new byte[parts[2].length() / 2];
        for (int at = 0; at < mark.length; at++) {
            mark[at] = (byte) Integer.parseInt(parts[2].substring(2 * at, 2 * at + 2), 16);
        }
        if (Modules.exist()) {
            Modules.open(instrumentation, Watch.class, Arrays.asList("java.io", "java.net", "sun.nio.ch", "sun.security.ssl"));
        }
        for (String name : USED) {
            Class.forName("qtap.jsse." + name, true, null);
        }
        // Opened both ways first, which never waits, and creates nothing: qtap may have ended meanwhile.
        FileChannel both;
        try {
            both = FileChannel.open(Paths.get(parts[1]), StandardOpenOption.READ, StandardOpenOption.WRITE);
        } catch (NoSuchFileException ended) {
            return;
        }
        FileInputStream life = new FileInputStream(parts[1]);
        both.close();
        Watch watch = new Watch(instrumentation, life);
        try {
            Channel.open(mark);
            instrumentation.addTransformer(watch, true);
            watch.change();
            if (watch.methods < Method.COUNT) {
                throw new IllegalStateException("another JSSE");
            }
            Thread thread = new Thread(watch, "qtap");
            thread.setDaemon(true);
            thread.start();
        } catch (Exception | Error failed) {
            watch.end();
            throw failed;
        }
        isRunning = true;
    }

    /** Waits for qtap's end. */
    @Override
    public void run() {
        try {
            while (life.read() >= 0) {
                // Nothing is written.
            }
        } catch (IOException ended) {
            // As good as an end.
        }
        end();
    }

    private void end() {
        Channel.close();
        Sessions.forget();
        instrumentation.removeTransformer(this);
        try {
            life.close();
        } catch (IOException closed) {
            // As good as closed.
        }
        synchronized (Watch.class) {
            isRunning = false;
        }
        try {
            change();
        } catch (Exception | Error kept) {
            // The calls stay, and return at once.
        }
    }

    /** Has the JVM load the classes again. */
    private void change() throws Exception {
        List<Class<?>> classes = new ArrayList<Class<?>>();
        for (String name : Method.ALL.keySet()) {
            classes.add(Class.forName(name.replace('/', '.'), false, null));
        }
        methods = 0;
        instrumentation.retransformClasses(classes.toArray(new Class<?>[0]));
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> changed, ProtectionDomain domain, byte[] file) {
        // The classes of this package pass here too while they are loaded: for them nothing may be asked that needs them.
        if (loader != null || name == null || !name.startsWith("sun/security/ssl/")) {
            return null;
        }
        Map<String, Method> methods = Method.ALL.get(name);
        if (methods == null) {
            return null;
        }
        try {
            byte[] with = new ClassFile(file).with(methods);
            this.methods += methods.size();
            return with;
        } catch (IOException | RuntimeException unknown) {
            // Left as it is.
            return null;
        }
    }
}
